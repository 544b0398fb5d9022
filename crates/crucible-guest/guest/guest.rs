//! The guest: process 1 of a sandbox, which serves the host's requests.

use super::container_cgroup::ContainerCgroup;
use super::file_server::FileServer;
use super::frame_batch::FrameBatch;
use super::framed_streams::FramedStreams;
use super::host_channel::HostChannel;
use super::proc_usage;
use super::reap;
use super::running_command::{RunningCommand, STATUS_MAX};
use super::static_cell::StaticCell;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{
    self, Errno, Fd, Fds, POLLERR, POLLHUP, POLLIN, PollFd, Result, SIGCHLD, SIGKILL, retry,
};
use super::target_context::TargetContext;
use super::target_launcher::TargetLauncher;
use super::writable_mounts::WritableMounts;
use crate::protocol::{
    Exec, FrameKind, Header, Layers, PAYLOAD_MAX_TO_GUEST, ProcUsage, Ready, Step,
};

/// SIGPIPE is blocked: writing to a stream without a reader returns an error number.
const SIGPIPE: i32 = 13;

static REQUEST: StaticCell<[u8; PAYLOAD_MAX_TO_GUEST]> = StaticCell::new([0; PAYLOAD_MAX_TO_GUEST]);

/// The guest's state.
pub(crate) struct Guest {
    pub(super) channel: HostChannel,
    pub(super) context: TargetContext,
    /// The signalfd that becomes readable when children end.
    pub(super) children: Fd,
    pub(super) files: FileServer,
    pub(super) launcher: TargetLauncher,
    pub(super) streams: FramedStreams,
    pub(super) running: Option<RunningCommand>,
    /// Whether the guest is process 1. A signal to process -1 then reaches only the sandbox.
    pub(super) is_init: bool,
    pub(super) container: ContainerState,
}

/// The state of the container that the guest runs in. Empty in a sandbox of the spawner.
#[derive(Default)]
pub(crate) struct ContainerState {
    /// The layers that the guest added, and the layers that were in force before.
    pub(crate) layers: Layers,
    /// The cgroup, if its files are readable.
    pub(crate) cgroup: Option<ContainerCgroup>,
    /// The writable mounts.
    pub(crate) disk: Option<WritableMounts>,
}

/// Whether the guest continues to serve.
#[derive(PartialEq, Eq)]
pub(super) enum NextStep {
    Serve,
    End,
}

impl Guest {
    /// Creates the guest and takes its static memory.
    pub(crate) fn new(channel: HostChannel, context: TargetContext) -> StepResult<Self> {
        let blocked = sys::signal_set(SIGCHLD) | sys::signal_set(SIGPIPE);
        sys::set_mask(blocked).at(Step::SIGNALS)?;
        let children = sys::signal_fd(sys::signal_set(SIGCHLD)).at(Step::SIGNALS)?;
        let files = FileServer::open(context.directory, context.target_id).at(Step::OPEN_BOX)?;
        let launcher = TargetLauncher::take().at(Step::DESCRIPTORS)?;
        let streams = FramedStreams::new().at(Step::DESCRIPTORS)?;
        let is_init = sys::pid() == 1;
        Ok(Self {
            channel,
            context,
            children,
            files,
            launcher,
            streams,
            running: None,
            is_init,
            container: ContainerState::default(),
        })
    }

    /// Releases the static memory for the next guest in the same address space.
    ///
    /// # Safety
    ///
    /// The guest that took the memory has ended.
    pub(crate) unsafe fn give_back_memory() {
        // SAFETY: the caller's promise.
        unsafe { REQUEST.give_back() };
        // SAFETY: the caller's promise.
        unsafe { TargetLauncher::give_back() };
        // SAFETY: the caller's promise.
        unsafe { FramedStreams::give_back() };
        // SAFETY: the caller's promise.
        unsafe { FileServer::give_back() };
    }

    /// Adds the state of the container that the guest runs in.
    pub(crate) fn in_container(self, container: ContainerState) -> Self {
        Self { container, ..self }
    }

    /// Reports that the sandbox is ready, with the guest's own status file.
    pub(crate) fn send_ready(&self) -> Result<()> {
        let mut status = [0; STATUS_MAX];
        let count = proc_usage::read_status(None, &mut status)?;
        let status = status.get(..count).unwrap_or_default();
        let layers = self.container.layers;
        let counts = self.container.cgroup.map(ContainerCgroup::read).unwrap_or_default();
        self.channel
            .answer(FrameKind::Ready, 0, |writer| Ready::encode(layers, counts, status, writer))
    }

    /// Serves until the host ends the sandbox or closes the channel, then exits. If the guest is
    /// process 1, the kernel kills everything else in the sandbox.
    pub(crate) fn run(mut self) -> ! {
        let Some(request) = REQUEST.take() else { sys::exit(1) };
        let served = self.serve(request);
        if !self.is_init {
            self.signal_all(SIGKILL);
            // The remaining processes are children of the guest by now: those that left the
            // command's process group, and the background processes of earlier commands.
            while reap::kill_children().is_ok() && retry(sys::reap_next).is_ok() {}
        }
        let _reaped = retry(|| sys::reap_now().map(drop));
        sys::exit(i32::from(served.is_err()))
    }

    fn serve(&mut self, request: &'static mut [u8]) -> Result<()> {
        let mut next = NextStep::Serve;
        while next == NextStep::Serve {
            let mut fds = [
                PollFd { fd: self.channel.input, events: POLLIN, found: 0 },
                PollFd { fd: self.children, events: POLLIN, found: 0 },
                self.streams.poll_stdin(),
                self.streams.poll_output(0),
                self.streams.poll_output(1),
            ];
            match sys::poll(&mut fds, self.timeout_ms()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let [channel, children, stdin, stdout, stderr] = fds;
            self.enforce_deadline();
            self.send_due_start()?;
            self.streams.transfer(self.channel, stdin, [stdout, stderr])?;
            if children.found & POLLIN != 0 {
                next = self.reap()?;
            }
            if next == NextStep::Serve && channel.found & (POLLIN | POLLHUP | POLLERR) != 0 {
                next = self.read_request(request)?;
            }
        }
        Ok(())
    }

    /// Returns the timeout for poll(2) in milliseconds; -1 means no timeout.
    fn timeout_ms(&self) -> i32 {
        match self.running.as_ref().and_then(RunningCommand::next_action_us) {
            Some(at) => {
                i32::try_from(at.saturating_sub(sys::now_us()).div_ceil(1000)).unwrap_or(i32::MAX)
            }
            None => -1,
        }
    }

    /// Kills the command at its deadline, in case the host does not.
    fn enforce_deadline(&mut self) {
        let now_us = sys::now_us();
        if self.running.as_mut().is_some_and(|running| running.expire(now_us)) {
            self.signal_all(SIGKILL);
        }
    }

    /// Reports the start of the command if the report is due.
    pub(super) fn send_due_start(&mut self) -> Result<()> {
        let Some(running) = self.running.as_mut().filter(|running| running.is_start_due()) else {
            return Ok(());
        };
        let mut batch = FrameBatch::new();
        running.add_start(&mut batch)?;
        self.channel.send_batch(&mut batch, None)
    }

    /// Reads a request and executes it.
    fn read_request(&mut self, buffer: &mut [u8]) -> Result<NextStep> {
        let Some((header, mut fds)) = self.channel.read_frame(buffer)? else {
            return Ok(NextStep::End);
        };
        let payload = buffer.get(..header.length as usize).unwrap_or_default();
        let result = self.handle(header, payload, &mut fds);
        fds.close();
        // The request may contain secrets, which are no longer used.
        buffer.get_mut(..header.length as usize).unwrap_or_default().fill(0);
        match result {
            Ok(next) => Ok(next),
            Err(StepError(step, error)) => {
                self.channel.fail(header.id, step, error).map(|()| NextStep::Serve)
            }
        }
    }

    fn handle(&mut self, header: Header, payload: &[u8], fds: &mut Fds) -> StepResult<NextStep> {
        match header.kind {
            FrameKind::Exec => {
                let exec = Exec::decode(payload).map_err(|_| StepError::MALFORMED)?;
                self.exec(header.id, &exec, fds)?;
            }
            FrameKind::Stdin => {
                self.streams.feed(self.channel, header.id, payload).at(Step::STREAMS)?
            }
            FrameKind::CloseStdin => self.streams.close_stdin(),
            FrameKind::WriteFd => self.write_fd(header.id, payload, fds)?,
            FrameKind::Signal => self.signal(payload)?,
            FrameKind::Write => self.files.write(self.channel, header.id, payload)?,
            FrameKind::Read => self.files.read(self.channel, header.id, payload)?,
            FrameKind::List => self.files.list(self.channel, header.id, payload)?,
            FrameKind::Measure => {
                let usage = self.measure().at(Step::USAGE)?;
                self.channel
                    .answer(FrameKind::Usage, header.id, |writer| usage.encode(writer))
                    .at(Step::USAGE)?;
            }
            FrameKind::Close => return Ok(NextStep::End),
            _ => return Err(StepError::MALFORMED),
        }
        Ok(NextStep::Serve)
    }

    /// Returns the CPU time that the cgroup has counted, the guest included. Without a cgroup, adds
    /// up the usage of the processes.
    fn measure(&self) -> Result<ProcUsage> {
        match self.container.cgroup.and_then(|cgroup| cgroup.read().cpu_us) {
            Some(user_us) => Ok(ProcUsage { user_us, ..ProcUsage::default() }),
            None => proc_usage::measure(),
        }
    }

    /// Writes bytes to a descriptor on which a program waits, after its input files are written.
    fn write_fd(&mut self, id: u32, mut bytes: &[u8], fds: &Fds) -> StepResult<()> {
        let [to] = *fds.as_slice() else { return Err(StepError::MALFORMED) };
        let mut result = self.files.take_input_failure();
        while result.is_ok() && !bytes.is_empty() {
            match retry(|| sys::write(to, bytes)) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) => result = Err(StepError(Step::STREAMS, error)),
            }
        }
        if result.is_err() {
            self.signal_all(SIGKILL);
        }
        result?;
        self.channel.answer(FrameKind::Done, id, |_| Ok(())).at(Step::STREAMS)
    }

    fn signal(&self, payload: &[u8]) -> StepResult<()> {
        let [a, b, c, d, everything] = *payload else { return Err(StepError::MALFORMED) };
        let signal = i32::from_le_bytes([a, b, c, d]);
        if !(1..=64).contains(&signal) {
            return Err(StepError(Step::REQUEST, Errno::INVAL));
        }
        if everything == 1 {
            self.signal_all(signal);
            return Ok(());
        }
        match &self.running {
            // The command leads a process group of its own.
            Some(running) => match sys::kill(-running.pid, signal) {
                // ESRCH: it has just ended.
                Ok(()) | Err(Errno::SRCH) => Ok(()),
                Err(error) => Err(StepError(Step::SIGNAL, error)),
            },
            None => Ok(()),
        }
    }

    /// Sends a signal to every process of the sandbox, or to the command's process group if the
    /// guest is not process 1.
    fn signal_all(&self, signal: i32) {
        let target =
            if self.is_init { Some(-1) } else { self.running.as_ref().map(|running| -running.pid) };
        if let Some(target) = target {
            // ESRCH means that no process remains. There is no other error: the guest may signal
            // everything that it started.
            let _sent = sys::kill(target, signal);
        }
    }
}
