//! The target: from a child that shares the guest's memory to the program.

use core::ffi::CStr;

use super::errno::{Errno, Result};
use super::memory::Once;
use super::serve::Place;
use super::sys::{
    self, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID, CAP_SETUID, Fd, Stack,
};
use crate::protocol::{Confinement, Exec, Step, Strings};

/// The most arguments and environment variables together: as many of one byte each as fit into 2 MiB with a NUL and a
/// pointer each (execve(2)), and some.
const POINTERS_MAX: usize = 256 * 1024;
/// Where programs without a `/` are looked for if `PATH` is not set.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a guest keeps: to become the target's user, to end it, and to put and read files whoever they belong to.
pub(crate) const KEPT: u64 = 1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_FOWNER
    | 1 << CAP_KILL
    | 1 << CAP_SETGID
    | 1 << CAP_SETUID;
/// The longest path of a program (`PATH_MAX`).
const PATH_MAX: usize = 4096;
/// `SECBIT_NOROOT`, `NO_CAP_AMBIENT_RAISE`, each with its lock, and the locks of `KEEP_CAPS` and `NO_SETUID_FIXUP`
/// (capabilities(7)): user id 0 means nothing, and none of this can be changed.
const SECUREBITS: usize = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x80;

/// Addresses of strings, 0 for the null pointer that ends an array of them.
static POINTERS: Once<[usize; POINTERS_MAX]> = Once::new([0; POINTERS_MAX]);
static STACK: Once<Stack> = Once::new(Stack([0; 16 * 1024]));

/// What starts targets: the memory that it takes.
pub(crate) struct Pointers {
    pointers: &'static mut [usize; POINTERS_MAX],
    stack: &'static mut Stack,
}

/// What the child needs, and what it leaves if it cannot become the program.
struct Job<'a> {
    place: &'a Place,
    exec: &'a Exec<'a>,
    stdio: [Fd; 3],
    argv: *const *const u8,
    env: *const *const u8,
    confinement: Confinement,
    failed: Option<(Step, Errno)>,
}

/// A target that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) pid: i32,
    pub(crate) confinement: Confinement,
}

/// A target that was not started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotStarted {
    /// There is no process.
    NoProcess(Errno),
    /// The process could not become the program; it has to be reaped.
    Failed { pid: i32, step: Step, error: Errno },
}

impl Pointers {
    pub(crate) fn take() -> Result<Self> {
        match (POINTERS.take(), STACK.take()) {
            (Some(pointers), Some(stack)) => Ok(Self { pointers, stack }),
            _ => Err(Errno::BUSY),
        }
    }

    /// What was taken may be taken again.
    ///
    /// # Safety
    /// As for [`Once::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { POINTERS.give_back() };
        // SAFETY: likewise.
        unsafe { STACK.give_back() };
    }

    /// Starts a program. When this returns, it is executed or has failed.
    pub(crate) fn start(
        &mut self,
        place: &Place,
        exec: &Exec<'_>,
        stdio: [Fd; 3],
    ) -> core::result::Result<Target, NotStarted> {
        let (argv, env) = self.fill(exec).map_err(NotStarted::NoProcess)?;
        let mut job =
            Job { place, exec, stdio, argv, env, confinement: Confinement::NONE, failed: None };
        let stack = &mut *self.stack;
        let pid = match &place.score {
            Some(score) => score.raised(|| sys::vfork(stack, child, &mut job)),
            None => sys::vfork(stack, child, &mut job),
        };
        let pid = pid.map_err(NotStarted::NoProcess)?;
        // The child wrote these through the pointer that it was given, behind the compiler's back.
        // SAFETY: `job` is alive, and the child no longer shares our memory.
        let confinement = unsafe { (&raw const job.confinement).read_volatile() };
        // SAFETY: likewise.
        match unsafe { (&raw const job.failed).read_volatile() } {
            None => Ok(Target { pid, confinement }),
            Some((step, error)) => Err(NotStarted::Failed { pid, step, error }),
        }
    }

    /// Lays out the two arrays of pointers that execve(2) wants.
    fn fill(&mut self, exec: &Exec<'_>) -> Result<(*const *const u8, *const *const u8)> {
        let count = |strings: &Strings<'_>| usize::try_from(strings.count).unwrap_or(POINTERS_MAX);
        let env_at = count(&exec.argv).checked_add(1).ok_or(Errno::INVAL)?;
        let end = env_at
            .checked_add(count(&exec.env))
            .and_then(|at| at.checked_add(1))
            .ok_or(Errno::INVAL)?;
        if end > POINTERS_MAX {
            return Err(Errno::INVAL);
        }
        for (start, strings) in [(0, &exec.argv), (env_at, &exec.env)] {
            let slots = self.pointers.get_mut(start..).unwrap_or_default();
            for (slot, string) in slots.iter_mut().zip(strings.iter()) {
                *slot = string.as_ptr() as usize;
            }
            if let Some(last) = slots.get_mut(count(strings)) {
                *last = 0;
            }
        }
        let env = self.pointers.get(env_at..).unwrap_or_default().as_ptr();
        Ok((self.pointers.as_ptr().cast(), env.cast()))
    }
}

/// The child's first function. It runs in the guest's memory, on a stack of its own, and touches only its job.
extern "C" fn child(job: *mut u8) -> ! {
    // SAFETY: `Pointers::start` passes a `Job`, which it keeps alive and does not touch until this process has left.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let (step, error) = match prepare(job) {
        Ok(()) => {
            job.confinement = confinement();
            execute(job)
        }
        Err(failed) => failed,
    };
    job.failed = Some((step, error));
    sys::exit(127)
}

/// What the kernel says of this process. What it does not say is the worst.
fn confinement() -> Confinement {
    Confinement {
        capabilities: sys::capabilities().unwrap_or(Confinement::NONE.capabilities),
        no_new_privs: sys::no_new_privs().unwrap_or(Confinement::NONE.no_new_privs),
        seccomp: sys::seccomp_mode().unwrap_or(Confinement::NONE.seccomp),
    }
}

fn prepare(job: &Job<'_>) -> core::result::Result<(), (Step, Errno)> {
    let at = |step| move |error| (step, error);
    sys::new_session().map_err(at(Step::TARGET_SESSION))?;
    take_stdio(job.stdio).map_err(at(Step::TARGET_STDIO))?;
    for limit in job.exec.rlimits() {
        sys::set_rlimit(limit.resource, limit.soft, limit.hard)
            .map_err(at(Step::TARGET_RLIMITS))?;
    }
    // A container's guest without privileges has none to give up.
    if job.place.target_id.is_some() && !job.place.sealed {
        seal_capabilities().map_err(at(Step::TARGET_CAPABILITIES))?;
    }
    if let (Some(id), false) = (job.place.target_id, job.place.single_id) {
        sys::set_gid(id).map_err(at(Step::TARGET_CREDENTIALS))?;
        sys::set_uid(id).map_err(at(Step::TARGET_CREDENTIALS))?;
    }
    if job.place.target_id.is_some() {
        sys::set_capabilities(0).map_err(at(Step::TARGET_CAPABILITIES))?;
    }
    // As the target's user: a directory that is closed to it is closed.
    enter(job).map_err(at(Step::TARGET_DIRECTORY))?;
    sys::umask(0o022);
    sys::set_mask(0).map_err(at(Step::SIGNALS))?;
    Ok(())
}

/// The three streams become 0, 1 and 2, and nothing else stays open.
fn take_stdio(stdio: [Fd; 3]) -> Result<()> {
    for (stream, number) in stdio.into_iter().zip(0..) {
        // None of them is below 3: the guest keeps those occupied.
        if stream.0 < 3 {
            return Err(Errno::INVAL);
        }
        sys::duplicate_onto(stream, Fd(number))?;
    }
    sys::close_from(3)
}

/// Empties the bounding set and locks the secure bits: nobody from here on, and nothing that is executed, ever has a
/// capability that it does not have yet. For whoever has `CAP_SETPCAP`.
pub(crate) fn seal_capabilities() -> Result<()> {
    for capability in 0..64 {
        match sys::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    sys::set_securebits(SECUREBITS)
}

fn enter(job: &Job<'_>) -> Result<()> {
    sys::chdir(job.place.directory)?;
    match CStr::from_bytes_with_nul(job.exec.directory) {
        Ok(here) if here.to_bytes() == b"." => Ok(()),
        Ok(directory) => sys::chdir(directory),
        Err(_) => Err(Errno::INVAL),
    }
}

/// Executes the program; where it has no `/`, the first that is found in `PATH`, as execvp(3) does.
fn execute(job: &Job<'_>) -> (Step, Errno) {
    let program = job.exec.argv.iter().next().unwrap_or(b"\0");
    let run = |path: *const u8| {
        // SAFETY: the path is a C string, and `fill` made both arrays of such, with a null pointer at their ends.
        unsafe { sys::execute(path, job.argv, job.env) }
    };
    if program.contains(&b'/') {
        return (Step::TARGET_EXEC, run(program.as_ptr()));
    }
    let mut found = Errno::NOENT;
    let path = job.exec.env.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    let path = path.map_or(DEFAULT_PATH, |path| path.strip_suffix(b"\0").unwrap_or(path));
    for directory in path.split(|byte| *byte == b':') {
        let mut candidate = [0_u8; PATH_MAX];
        // An empty entry is the working directory.
        let directory = if directory.is_empty() { &b"."[..] } else { directory };
        let name_at = directory.len() + 1;
        let Some(room) = candidate.get_mut(..name_at + program.len()) else { continue };
        let (head, name) = room.split_at_mut(name_at);
        if let Some((slash, head)) = head.split_last_mut() {
            head.copy_from_slice(directory);
            *slash = b'/';
        }
        name.copy_from_slice(program);
        match run(candidate.as_ptr()) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCES => found = Errno::ACCES,
            error => return (Step::TARGET_EXEC, error),
        }
    }
    (Step::TARGET_EXEC, found)
}
