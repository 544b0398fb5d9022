//! The target's process, from clone(2) to execve(2).

use core::ffi::CStr;

use super::capabilities::seal_capabilities;
use super::sys::{self, Errno, Fd, Result};
use super::target_context::TargetContext;
use crate::protocol::{Confinement, Exec, Step};

/// The search path for programs without a `/` if `PATH` is not set.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The longest path of a program (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// A target that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) pid: i32,
    pub(crate) confinement: Confinement,
}

/// The reason why a target was not started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LaunchError {
    /// There is no process.
    NoProcess(Errno),
    /// The process could not execute the program. The guest has to reap it.
    Failed { pid: i32, step: Step, error: Errno },
}

/// The child's input, and the results that it leaves for the guest.
pub(crate) struct TargetJob<'a> {
    pub(crate) context: &'a TargetContext,
    pub(crate) exec: &'a Exec<'a>,
    pub(crate) stdio: [Fd; 3],
    pub(crate) argv: *const *const u8,
    pub(crate) env: *const *const u8,
    /// Whether the guest has the target's OOM score. The child sets it to `false`.
    pub(crate) guest_is_raised: bool,
    /// The confinement of the child immediately before execve(2).
    pub(crate) confinement: Confinement,
    /// The step that failed.
    pub(crate) failed: Option<(Step, Errno)>,
}

/// The child's first function. It runs in the guest's memory, on a stack of its own, and accesses
/// only its job.
pub(crate) extern "C" fn child(job: *mut u8) -> ! {
    // SAFETY: `TargetLauncher::start` passes a `TargetJob`, which it keeps alive and does not
    // access until this process has left its memory.
    let job = unsafe { &mut *job.cast::<TargetJob<'_>>() };
    if let Some(score) = &job.context.oom_score {
        job.guest_is_raised = score.apply_in_child(job.guest_is_raised);
    }
    let (step, error) = match prepare(job) {
        Ok(()) => {
            job.confinement = read_confinement();
            execute(job)
        }
        Err(failed) => failed,
    };
    job.failed = Some((step, error));
    sys::exit(127)
}

/// Reads from the kernel what confines this process. If the kernel refuses to answer, the result
/// assumes no confinement.
fn read_confinement() -> Confinement {
    Confinement {
        capabilities: sys::capabilities().unwrap_or(Confinement::NONE.capabilities),
        no_new_privs: sys::no_new_privs().unwrap_or(Confinement::NONE.no_new_privs),
        seccomp: sys::seccomp_mode().unwrap_or(Confinement::NONE.seccomp),
    }
}

fn prepare(job: &TargetJob<'_>) -> core::result::Result<(), (Step, Errno)> {
    let at = |step| move |error| (step, error);
    sys::new_session().map_err(at(Step::TARGET_SESSION))?;
    take_stdio(job.stdio).map_err(at(Step::TARGET_STDIO))?;
    for limit in job.exec.rlimits() {
        sys::set_rlimit(limit.resource, limit.soft, limit.hard)
            .map_err(at(Step::TARGET_RLIMITS))?;
    }
    // A container's guest without privileges has none to drop.
    if job.context.target_id.is_some() && !job.context.sealed {
        seal_capabilities().map_err(at(Step::TARGET_CAPABILITIES))?;
    }
    if let (Some(id), false) = (job.context.target_id, job.context.single_id) {
        sys::set_gid(id).map_err(at(Step::TARGET_CREDENTIALS))?;
        sys::set_uid(id).map_err(at(Step::TARGET_CREDENTIALS))?;
    }
    if job.context.target_id.is_some() {
        sys::set_capabilities(0).map_err(at(Step::TARGET_CAPABILITIES))?;
    }
    // Under the target's user id, so that the permissions of the directory apply.
    enter_directory(job).map_err(at(Step::TARGET_DIRECTORY))?;
    sys::umask(0o022);
    sys::set_mask(0).map_err(at(Step::SIGNALS))?;
    Ok(())
}

/// Makes the three streams 0, 1 and 2, and closes everything else.
fn take_stdio(stdio: [Fd; 3]) -> Result<()> {
    for (stream, number) in stdio.into_iter().zip(0..) {
        // None of them is below 3: the guest keeps those numbers occupied.
        if stream.0 < 3 {
            return Err(Errno::INVAL);
        }
        sys::duplicate_onto(stream, Fd(number))?;
    }
    sys::close_from(3)
}

fn enter_directory(job: &TargetJob<'_>) -> Result<()> {
    sys::chdir(job.context.directory)?;
    match CStr::from_bytes_with_nul(job.exec.directory) {
        Ok(here) if here.to_bytes() == b"." => Ok(()),
        Ok(directory) => sys::chdir(directory),
        Err(_) => Err(Errno::INVAL),
    }
}

/// Executes the program. If its name has no `/`, executes the first match in `PATH`, as execvp(3)
/// does.
fn execute(job: &TargetJob<'_>) -> (Step, Errno) {
    let program = job.exec.argv.iter().next().unwrap_or(b"\0");
    let run = |path: *const u8| {
        // SAFETY: the path is a C string. `TargetLauncher::fill` made both arrays of C strings,
        // with a null pointer at the end.
        unsafe { sys::execute(path, job.argv, job.env) }
    };
    if program.contains(&b'/') {
        return (Step::TARGET_EXEC, run(program.as_ptr()));
    }
    let mut result = Errno::NOENT;
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
            Errno::ACCES => result = Errno::ACCES,
            error => return (Step::TARGET_EXEC, error),
        }
    }
    (Step::TARGET_EXEC, result)
}
