//! Serving the host from within: commands, files, signals, until it ends the sandbox or is gone.

use core::ffi::CStr;

use super::cgroup::Cgroup;
use super::control::{Batch, Control};
use super::disk::Disk;
use super::errno::{Errno, Result, retry};
use super::files::Files;
use super::memory::Once;
use super::oom::Score;
use super::reap::{self, Ended};
use super::spawn::{At as _, StepError};
use super::streams::Streams;
use super::sys::{self, Fd, Fds, POLLERR, POLLHUP, POLLIN, PollFd, SIGCHLD, SIGKILL};
use super::target::{NotStarted, Pointers, Target};
use super::usage;
use crate::protocol::{
    Confinement, Exec, Exited, Failure, FrameKind, Header, Layers, OnExit, PAYLOAD_MAX_TO_GUEST,
    ProcUsage, Ready, STDIO_PASSED, Started, Step,
};

/// SIGPIPE: a stream whose reader is gone is an error number, not the guest's end.
const SIGPIPE: i32 = 13;
/// The most of a status file (proc(5)) that is sent along; it has about 1.5 KiB.
const STATUS_MAX: usize = 4096;

static REQUEST: Once<[u8; PAYLOAD_MAX_TO_GUEST]> = Once::new([0; PAYLOAD_MAX_TO_GUEST]);

/// Where targets run, and as whom.
pub(crate) struct Place {
    /// The working directory of commands, and the root of all file requests.
    pub(crate) directory: &'static CStr,
    /// Guest and target share an id.
    pub(crate) single_id: bool,
    /// The target's user and group id; `None` where the guest has no privileges to give up.
    pub(crate) target_id: Option<u32>,
    /// Whether the file system of `directory` is bounded, and so worth measuring.
    pub(crate) bounded: bool,
    /// Where what is started is to be the first that ends when memory runs out.
    pub(crate) score: Option<Score>,
    /// Whether the guest's capabilities are sealed, which every target inherits.
    pub(crate) sealed: bool,
}

/// A command that runs.
struct Running {
    pid: i32,
    id: u32,
    on_exit: OnExit,
    began_us: u64,
    /// What is still to be said of its start.
    unsaid: Option<Unsaid>,
    /// When the guest ends it by itself.
    deadline_us: Option<u64>,
    deadline_passed: bool,
    /// The guest's mounts, which the host gets when the guest ends with the command: ending them takes a while, and as long
    /// as somebody holds on to them, that can wait. Where they cannot be had, it does not.
    mounts: Option<Fd>,
}

/// What is to be said of a command's start, unless it ends before.
struct Unsaid {
    at_us: u64,
    confinement: Confinement,
    /// The command's status file, as far as it was filled.
    status: [u8; STATUS_MAX],
    count: usize,
}

/// The guest's state.
pub(crate) struct Guest {
    control: Control,
    place: Place,
    children: Fd,
    files: Files,
    pointers: Pointers,
    streams: Streams,
    running: Option<Running>,
    /// Whether the guest is process 1, so that a signal to everybody reaches the sandbox alone.
    is_init: bool,
    container: Container,
}

/// What a guest of a container knows of it.
#[derive(Default)]
pub(crate) struct Container {
    /// What the guest has put on itself, or found.
    pub(crate) layers: Layers,
    /// The cgroup that it is in, where it can see it.
    pub(crate) cgroup: Option<Cgroup>,
    /// The places that can be written to.
    pub(crate) disk: Option<Disk>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    Serve,
    End,
}

impl Guest {
    pub(crate) fn new(control: Control, place: Place) -> core::result::Result<Self, StepError> {
        let blocked = sys::only(SIGCHLD) | sys::only(SIGPIPE);
        sys::set_mask(blocked).at(Step::SIGNALS)?;
        let children = sys::signal_fd(sys::only(SIGCHLD)).at(Step::SIGNALS)?;
        let files = Files::open(place.directory, place.target_id).at(Step::OPEN_BOX)?;
        let pointers = Pointers::take().at(Step::DESCRIPTORS)?;
        let streams = Streams::new().at(Step::DESCRIPTORS)?;
        let is_init = sys::pid() == 1;
        Ok(Self {
            control,
            place,
            children,
            files,
            pointers,
            streams,
            running: None,
            is_init,
            container: Container::default(),
        })
    }

    /// A guest that follows one that has ended, in the same memory, may take what that one took.
    ///
    /// # Safety
    /// The one that took it has ended.
    pub(crate) unsafe fn give_back_memory() {
        // SAFETY: the caller's promise, here and in what follows.
        unsafe { REQUEST.give_back() };
        // SAFETY: likewise.
        unsafe { Pointers::give_back() };
        // SAFETY: likewise.
        unsafe { Streams::give_back() };
        // SAFETY: likewise.
        unsafe { Files::give_back() };
    }

    /// The guest is one of a container.
    pub(crate) fn in_container(self, container: Container) -> Self {
        Self { container, ..self }
    }

    /// Says that the sandbox stands, and what the kernel says of the guest.
    pub(crate) fn say_ready(&self) -> Result<()> {
        let mut status = [0; STATUS_MAX];
        let count = usage::read_status(None, &mut status)?;
        let status = status.get(..count).unwrap_or_default();
        let layers = self.container.layers;
        let counted = self.container.cgroup.map(Cgroup::count).unwrap_or_default();
        self.control
            .answer(FrameKind::Ready, 0, |writer| Ready::encode(layers, counted, status, writer))
    }

    fn serve(&mut self, request: &'static mut [u8]) -> Result<()> {
        let mut next = Next::Serve;
        while next == Next::Serve {
            let mut fds = [
                PollFd { fd: self.control.input, events: POLLIN, found: 0 },
                PollFd { fd: self.children, events: POLLIN, found: 0 },
                self.streams.poll_stdin(),
                self.streams.poll_output(0),
                self.streams.poll_output(1),
            ];
            match sys::poll(&mut fds, self.timeout_ms()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let [control, children, stdin, stdout, stderr] = fds;
            self.check_deadline();
            self.say_what_is_due()?;
            self.streams.pump(self.control, stdin, [stdout, stderr])?;
            if children.found & POLLIN != 0 {
                next = self.reap()?;
            }
            if next == Next::Serve && control.found & (POLLIN | POLLHUP | POLLERR) != 0 {
                next = self.request(request)?;
            }
        }
        Ok(())
    }

    /// How long to wait for something to happen: until the deadline, or until something is to be said.
    fn timeout_ms(&self) -> i32 {
        let running = self.running.as_ref();
        let deadline =
            running.filter(|running| !running.deadline_passed).and_then(|r| r.deadline_us);
        let unsaid = running.and_then(|running| running.unsaid.as_ref()).map(|unsaid| unsaid.at_us);
        match deadline.into_iter().chain(unsaid).min() {
            Some(at) => {
                i32::try_from(at.saturating_sub(sys::now_us()).div_ceil(1000)).unwrap_or(i32::MAX)
            }
            None => -1,
        }
    }

    /// Ends the command at its deadline, in case the host does not.
    fn check_deadline(&mut self) {
        let now = sys::now_us();
        let passed = match &mut self.running {
            Some(running)
                if !running.deadline_passed && running.deadline_us.is_some_and(|at| now >= at) =>
            {
                running.deadline_passed = true;
                true
            }
            _ => false,
        };
        if passed {
            self.signal_everything(SIGKILL);
        }
    }

    /// Reads a request and carries it out.
    fn request(&mut self, buffer: &mut [u8]) -> Result<Next> {
        let Some((header, mut fds)) = self.control.read_frame(buffer)? else {
            return Ok(Next::End);
        };
        let payload = buffer.get(..header.length as usize).unwrap_or_default();
        let done = self.carry_out(header, payload, &mut fds);
        fds.close();
        // There may be secrets among it, which nobody needs any more.
        buffer.get_mut(..header.length as usize).unwrap_or_default().fill(0);
        match done {
            Ok(next) => Ok(next),
            Err(StepError(step, error)) => {
                self.control.fail(header.id, step, error).map(|()| Next::Serve)
            }
        }
    }

    fn carry_out(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: &mut Fds,
    ) -> core::result::Result<Next, StepError> {
        let malformed = StepError(Step::REQUEST, Errno::PROTO);
        match header.kind {
            FrameKind::Exec => {
                let exec = Exec::decode(payload).map_err(|_| malformed)?;
                self.exec(header.id, &exec, fds)?;
            }
            FrameKind::Stdin => {
                self.streams.feed(self.control, header.id, payload).at(Step::STREAMS)?
            }
            FrameKind::CloseStdin => self.streams.close_stdin(),
            FrameKind::WriteFd => self.feed(header.id, payload, fds)?,
            FrameKind::Signal => self.signal(payload)?,
            FrameKind::Write => self.files.write(self.control, header.id, payload)?,
            FrameKind::Read => self.files.read(self.control, header.id, payload)?,
            FrameKind::List => self.files.list(self.control, header.id, payload)?,
            FrameKind::Measure => {
                let usage = self.measure().at(Step::USAGE)?;
                self.control
                    .answer(FrameKind::Usage, header.id, |writer| usage.encode(writer))
                    .at(Step::USAGE)?;
            }
            FrameKind::Close => return Ok(Next::End),
            _ => return Err(malformed),
        }
        Ok(Next::Serve)
    }

    /// What the cgroup has counted, the guest included, where it can be seen.
    fn measure(&self) -> Result<ProcUsage> {
        match self.container.cgroup.and_then(|cgroup| cgroup.count().cpu_us) {
            Some(user_us) => Ok(ProcUsage { user_us, ..ProcUsage::default() }),
            None => usage::measure(),
        }
    }

    fn exec(
        &mut self,
        id: u32,
        exec: &Exec<'_>,
        fds: &mut Fds,
    ) -> core::result::Result<(), StepError> {
        if self.running.is_some() {
            return Err(StepError(Step::BUSY, Errno::BUSY));
        }
        // Input files come before their command; one that could not be written is the command's failure.
        self.files.take_input_failure()?;
        let mut passed = Fds::none();
        let stdio = if exec.stdio == STDIO_PASSED {
            passed = fds.take();
            match *passed.as_slice() {
                [stdin, stdout, stderr] => [stdin, stdout, stderr],
                _ => {
                    passed.close();
                    return Err(StepError(Step::REQUEST, Errno::PROTO));
                }
            }
        } else {
            self.streams.open().at(Step::STREAMS)?
        };
        let began_us = sys::now_us();
        let started = self.pointers.start(&self.place, exec, stdio);
        match (&started, exec.on_exit, passed.as_slice()) {
            // Its output ends with us: whoever reads it is not woken by its last process, which has better things to do.
            (Ok(_), OnExit::Seal, [stdin, ..]) => sys::close(*stdin),
            _ => passed.close(),
        }
        self.streams.close_target_ends();
        match started {
            Ok(Target { pid, confinement }) => {
                let deadline_us =
                    (exec.deadline_us > 0).then(|| began_us.saturating_add(exec.deadline_us));
                // What it writes comes to the host by itself, or after this is said.
                let quiet_us =
                    if exec.stdio == STDIO_PASSED { u64::from(exec.quiet_us) } else { 0 };
                let at_us = began_us.saturating_add(quiet_us);
                self.running = Some(Running {
                    pid,
                    id,
                    on_exit: exec.on_exit,
                    began_us,
                    unsaid: Some(Unsaid { at_us, confinement, status: [0; STATUS_MAX], count: 0 }),
                    deadline_us,
                    deadline_passed: false,
                    mounts: None,
                });
                let unsaid = self.running.as_mut().and_then(|running| running.unsaid.as_mut());
                if let (true, Some(unsaid)) = (exec.status, unsaid) {
                    // A program that has already ended is a zombie, whose status can still be read: nobody but us reaps it.
                    unsaid.count =
                        usage::read_status_of_child(pid, &mut unsaid.status).at(Step::USAGE)?;
                }
                self.say_what_is_due().at(Step::USAGE)?;
                let lends = exec.lend_mounts && exec.on_exit == OnExit::Seal;
                if let (true, Some(running)) = (lends, &mut self.running) {
                    let mounts = sys::open(c"/proc/self/ns/mnt", sys::O_RDONLY | sys::O_CLOEXEC, 0);
                    running.mounts = mounts.ok();
                }
                Ok(())
            }
            Err(NotStarted::NoProcess(error)) => {
                self.streams.close();
                Err(StepError(Step::TARGET_CLONE, error))
            }
            Err(NotStarted::Failed { pid, step, error }) => {
                self.streams.close();
                reap::wait_for(pid).at(Step::TARGET_CLONE)?;
                match step {
                    Step::TARGET_EXEC | Step::TARGET_DIRECTORY => {
                        let failure = Failure { step, errno: error.0 };
                        let answer =
                            self.control.answer(FrameKind::ExecFailed, id, |w| failure.encode(w));
                        answer.at(Step::TARGET_EXEC)
                    }
                    step => Err(StepError(step, error)),
                }
            }
        }
    }

    /// Hands bytes to a program that waits for them, once its input files are there.
    fn feed(
        &mut self,
        id: u32,
        mut bytes: &[u8],
        fds: &Fds,
    ) -> core::result::Result<(), StepError> {
        let [to] = *fds.as_slice() else { return Err(StepError(Step::REQUEST, Errno::PROTO)) };
        let mut fed = self.files.take_input_failure();
        while fed.is_ok() && !bytes.is_empty() {
            match retry(|| sys::write(to, bytes)) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) => fed = Err(StepError(Step::STREAMS, error)),
            }
        }
        if fed.is_err() {
            self.signal_everything(SIGKILL);
        }
        fed?;
        self.control.answer(FrameKind::Done, id, |_| Ok(())).at(Step::STREAMS)
    }

    /// Says that the command runs, once it has run for as long as nobody need know.
    fn say_what_is_due(&mut self) -> Result<()> {
        let unsaid = self.running.as_ref().and_then(|running| running.unsaid.as_ref());
        if unsaid.is_none_or(|unsaid| sys::now_us() < unsaid.at_us) {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.add_started(&mut batch)?;
        self.control.send_batch(&mut batch, None)
    }

    /// Adds that the command was started, if that was not said yet.
    fn add_started(&mut self, batch: &mut Batch) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(Unsaid { confinement, status, count, .. }) = running.unsaid.take() else {
            return Ok(());
        };
        let started = Started {
            pid: running.pid.unsigned_abs(),
            ran_us: sys::now_us().saturating_sub(running.began_us),
            confinement,
            status: status.get(..count).unwrap_or_default(),
        };
        batch.add(FrameKind::Started, running.id, |writer| started.encode(writer))
    }

    fn signal(&self, payload: &[u8]) -> core::result::Result<(), StepError> {
        let [a, b, c, d, everything] = *payload else {
            return Err(StepError(Step::REQUEST, Errno::PROTO));
        };
        let signal = i32::from_le_bytes([a, b, c, d]);
        if !(1..=64).contains(&signal) {
            return Err(StepError(Step::REQUEST, Errno::INVAL));
        }
        if everything == 1 {
            self.signal_everything(signal);
            return Ok(());
        }
        match &self.running {
            // The command leads a process group of its own.
            Some(running) => match sys::kill(-running.pid, signal) {
                // It has just ended.
                Ok(()) | Err(Errno::SRCH) => Ok(()),
                Err(error) => Err(StepError(Step::SIGNAL, error)),
            },
            None => Ok(()),
        }
    }

    /// Sends a signal to every process of the sandbox; to the command's group where we are not process 1.
    fn signal_everything(&self, signal: i32) {
        let everybody =
            if self.is_init { Some(-1) } else { self.running.as_ref().map(|running| -running.pid) };
        if let Some(everybody) = everybody {
            // ESRCH: nobody is left. Nothing else can come of it: the guest may signal whatever it started.
            let _sent = sys::kill(everybody, signal);
        }
    }

    /// Reaps whatever has ended, and reports the command if it is among it.
    fn reap(&mut self) -> Result<Next> {
        reap::drain(self.children)?;
        let mut batch = Batch::new();
        self.add_started(&mut batch)?;
        let target = self.running.as_ref().map(|running| running.pid);
        let Some(ended) = reap::reap_all(target)? else {
            self.control.send_batch(&mut batch, None)?;
            return Ok(Next::Serve);
        };
        let Some(running) = self.running.take() else { return Ok(Next::Serve) };
        self.report(&running, ended, &mut batch)?;
        if running.on_exit != OnExit::Seal {
            return Ok(Next::Serve);
        }
        // The host has its outcome to make; our own end takes a while, and nobody waits for it.
        sys::yield_now();
        Ok(Next::End)
    }

    /// Reports that the command has ended, and ends what it left behind, if that is wanted.
    fn report(&mut self, running: &Running, ended: Ended, batch: &mut Batch) -> Result<()> {
        let room = match &self.container.disk {
            Some(disk) => Some(disk.left()),
            None if self.place.bounded => self.files.room(),
            None => None,
        };
        if let Some(cgroup) = self.container.cgroup {
            batch
                .add(FrameKind::CgroupCounts, running.id, |writer| cgroup.count().encode(writer))?;
        }
        let mut exited = Exited {
            wait_status: ended.status,
            empty: false,
            deadline: running.deadline_passed,
            survivors: 0,
            wall_us: sys::now_us().saturating_sub(running.began_us),
            user_us: ended.usage.user_us,
            system_us: ended.usage.system_us,
            maxrss_kib: ended.usage.maxrss_kib,
            guest_us: sys::usage_of_self().cpu_us(),
            free_bytes: room.map_or(u64::MAX, |room| room.free_bytes),
            free_inodes: room.map_or(u64::MAX, |room| room.free_inodes),
        };
        let everybody = if self.is_init { -1 } else { -running.pid };
        let keeps = running.on_exit == OnExit::KeepBackground;
        exited.empty = !keeps
            && (ended.alone
                || sys::kill(everybody, SIGKILL) == Err(Errno::SRCH) && reap::is_empty()?);
        // What comes by frames comes before the end. Where they do, the start was told long ago.
        self.streams.drain(self.control)?;
        batch.add(FrameKind::Exited, running.id, |writer| exited.encode(writer))?;
        self.control.send_batch(batch, running.mounts)?;
        if keeps || exited.empty {
            return Ok(());
        }
        // The command's own end is known; the rest may take a moment.
        let survivors = reap::reap_everything(everybody)?;
        self.control.answer(FrameKind::Empty, running.id, |writer| writer.u32(survivors))
    }
}

/// Serves until the end. As process 1 the guest takes everything with it.
pub(crate) fn run(mut guest: Guest) -> ! {
    let Some(request) = REQUEST.take() else { sys::exit(1) };
    let served = guest.serve(request);
    if !guest.is_init {
        guest.signal_everything(SIGKILL);
        // What has left the command's group, and what earlier commands were to leave behind, comes to us.
        while reap::kill_children().is_ok() && retry(sys::reap_next).is_ok() {}
    }
    let _reaped = retry(|| sys::reap_now().map(drop));
    sys::exit(i32::from(served.is_err()))
}
