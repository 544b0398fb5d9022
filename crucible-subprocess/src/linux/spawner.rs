//! The host's end of the spawner: the small process that makes sandboxes.

use std::io::{IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crucible_core::EngineError;
use crucible_guest::protocol::{
    Failure, Init, InitFlags, PACKET_MAX, PacketKind, SandboxPlan, SealReply, TemplateOp,
    WireWriter,
};
use crucible_guest_client::errors::{failed_step, protocol, setup};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

use super::auditor::Auditor;
use super::template::Template;

/// How long a step of the spawner may take before it is taken for stuck.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// The most descriptors with one packet: the guest's socket, a namespace, cgroups.
const FDS_MAX: usize = 8;

/// What the spawner is told when it starts.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) flags: InitFlags,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) template: Template,
}

/// The spawner, started again should it die.
#[derive(Debug)]
pub(super) struct Spawner {
    setup: Setup,
    program: Arc<OwnedFd>,
    /// Hears of what the filter stops.
    auditor: Arc<Auditor>,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    socket: OwnedFd,
    child: Child,
}

/// Why a packet was not sent.
#[derive(Debug)]
pub(super) enum SendError {
    /// The spawner has not caught up; try again.
    Busy,
    /// The spawner is gone; [`Spawner::restart`] it.
    Gone,
    /// Something else.
    Failed(EngineError),
}

impl Spawner {
    /// Starts the spawner and builds the root template in it.
    pub(super) fn start(setup: Setup, auditor: Arc<Auditor>) -> Result<Self, EngineError> {
        let program = Arc::new(sealed_program()?);
        let spawner = Self { setup, program, auditor, process: Mutex::new(None) };
        spawner.restart()?;
        Ok(spawner)
    }

    /// One that is like this but for a flag more, and that is started when a sandbox is first asked of it.
    pub(super) fn dormant_with(&self, flag: InitFlags) -> Self {
        let setup = Setup { flags: self.setup.flags.with(flag), ..self.setup.clone() };
        let (program, auditor) = (Arc::clone(&self.program), Arc::clone(&self.auditor));
        Self { setup, program, auditor, process: Mutex::new(None) }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // The process is replaced as a whole: there is nothing to find half done.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the spawner if it is gone. Blocks for a few milliseconds.
    pub(super) fn restart(&self) -> Result<(), EngineError> {
        let mut process = self.process();
        if let Some(running) = process.as_mut() {
            match running.child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) => {
                    tracing::warn!(%status, "the spawner ended and is started again")
                }
                Err(error) => tracing::warn!(%error, "the spawner is lost and is started again"),
            }
        }
        *process = None;
        *process = Some(Process::start(&self.program, &self.setup, &self.auditor)?);
        Ok(())
    }

    /// Asks for a sandbox. Never blocks.
    pub(super) fn open(&self, plan: &SandboxPlan, fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let mut packet = [0; 64];
        let length = encode(&mut packet, PacketKind::Open, |writer| plan.encode(writer))
            .map_err(SendError::Failed)?;
        let process = self.process();
        let Some(process) = process.as_ref() else { return Err(SendError::Gone) };
        let packet = packet.get(..length).unwrap_or_default();
        match send(process.socket.as_fd(), packet, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) => Err(SendError::Busy),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(SendError::Gone),
            Err(error) => Err(SendError::Failed(setup("ask the spawner for a sandbox", error))),
        }
    }

    /// Asks for a network namespace. Blocks until it is there.
    pub(super) fn make_network(&self) -> Result<OwnedFd, EngineError> {
        let process = self.process();
        let Some(process) = process.as_ref() else {
            return Err(EngineError::Closed { what: "the spawner".to_owned() });
        };
        process
            .request(PacketKind::MakeNetwork, |_| Ok(()))?
            .ok_or_else(|| protocol("no namespace came", false))
    }

    /// Whether the spawner lives.
    pub(super) fn is_alive(&self) -> bool {
        self.process().as_mut().is_some_and(|process| matches!(process.child.try_wait(), Ok(None)))
    }

    /// Ends the spawner, and with it every guest. Blocks until it has ended.
    pub(super) fn stop(&self) {
        *self.process() = None;
    }
}

impl Process {
    fn start(program: &OwnedFd, config: &Setup, auditor: &Auditor) -> Result<Self, EngineError> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| setup("make the spawner's socket", error))?;
        for timeout in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, timeout, Some(STEP_TIMEOUT))
                .map_err(|error| setup("bound the spawner's answers", error))?;
        }
        // A plain spawn: nothing here forks the host's memory. The path leads to the sealed program, whatever /proc is
        // outside.
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg("spawn")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| setup("start the spawner", error))?;
        let process = Self { socket, child };
        process.build(config)?;
        process.seal(config, auditor)?;
        Ok(process)
    }

    fn build(&self, config: &Setup) -> Result<(), EngineError> {
        let mut mount_point = config.template.mount_point().as_os_str().as_encoded_bytes().to_vec();
        mount_point.push(0);
        let init = Init {
            flags: config.flags,
            uid: config.uid,
            gid: config.gid,
            mount_point: &mount_point,
        };
        self.request(PacketKind::Init, |writer| init.encode(writer))?;
        config.template.apply(|op: &TemplateOp<'_>, path: &Path| {
            let done = self.request(PacketKind::Template, |writer| op.encode(writer));
            done.map(drop).map_err(|error| match error {
                EngineError::Setup { step, source } => {
                    EngineError::Setup { step: format!("{step} ({path:?})"), source }
                }
                other => other,
            })
        })
    }

    /// Lets the spawner enter the template and load its filter.
    fn seal(&self, config: &Setup, auditor: &Auditor) -> Result<(), EngineError> {
        let malformed = || protocol("the spawner's answer is malformed", false);
        let (body, listener) = self.ask(PacketKind::Seal, |_| Ok(()), PacketKind::Sealed)?;
        let SealReply { no_listener } = SealReply::decode(&body).map_err(|_| malformed())?;
        match listener {
            Some(listener) => auditor.listen(listener, self.child.id()),
            None if !config.flags.has(InitFlags::SECCOMP) => {}
            None if no_listener != 0 => auditor.cannot_listen(no_listener),
            None => return Err(malformed()),
        }
        Ok(())
    }

    /// Sends a packet and waits until it is done; gives what came along.
    fn request(
        &self,
        kind: PacketKind,
        write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), crucible_guest::protocol::Overflow>,
    ) -> Result<Option<OwnedFd>, EngineError> {
        match self.ask(kind, write, PacketKind::Done)? {
            (body, fd) if body.is_empty() => Ok(fd),
            _ => Err(protocol("the spawner's answer is malformed", false)),
        }
    }

    /// Sends a packet and waits for the answer of the right kind; gives its body, and what came along.
    fn ask(
        &self,
        kind: PacketKind,
        write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), crucible_guest::protocol::Overflow>,
        wanted: PacketKind,
    ) -> Result<(Vec<u8>, Option<OwnedFd>), EngineError> {
        let mut packet = vec![0; PACKET_MAX];
        let length = encode(&mut packet, kind, write)?;
        send(
            self.socket.as_fd(),
            packet.get(..length).unwrap_or_default(),
            &[],
            SendFlags::NOSIGNAL,
        )
        .map_err(|error| setup("talk to the spawner", error))?;
        let mut answer = [0; 64];
        let (length, mut fds) = receive(self.socket.as_fd(), &mut answer)
            .map_err(|error| setup("hear from the spawner", error))?;
        let answer = answer.get(..length).unwrap_or_default();
        match answer.split_first() {
            Some((kind, body)) if *kind == wanted as u8 => Ok((body.to_vec(), fds.pop())),
            Some((kind, body)) if *kind == PacketKind::Failed as u8 => {
                match Failure::decode(body) {
                    Ok(failure) => Err(failed_step(failure)),
                    Err(_) => Err(protocol("the spawner's error is malformed", false)),
                }
            }
            Some(_) => Err(protocol("the spawner's answer is malformed", false)),
            None => Err(setup(
                "hear from the spawner",
                std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
            )),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its socket ends the spawner; and should it not listen, SIGKILL does.
        let closed = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        if closed.is_err() {
            tracing::debug!("the spawner's socket was closed already");
        }
        let pid = self.child.id();
        for _ in 0..200 {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) => return,
                Err(error) => {
                    tracing::warn!(pid, %error, "the spawner could not be waited for");
                    return;
                }
            }
        }
        tracing::warn!(pid, "the spawner did not end by itself");
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(pid, %error, "the spawner could not be ended");
        }
    }
}

/// The guest program in memory that nobody can change any more (memfd_create(2)).
fn sealed_program() -> Result<OwnedFd, EngineError> {
    let binary = crucible_guest::BINARY.ok_or_else(|| EngineError::Unsupported {
        engine: super::engine::NAME.to_owned(),
        what: "this platform: it has no guest program for it".to_owned(),
    })?;
    let fail = |error: std::io::Error| setup("put the guest program into memory", error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know that a file can be said to be executable, and take all for such.
    let program = rustix::fs::memfd_create(c"crucible-guest", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(c"crucible-guest", flags))
        .map_err(|error| fail(error.into()))?;
    let mut file = std::fs::File::from(program);
    file.write_all(binary).map_err(fail)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(|error| fail(error.into()))?;
    // A file that is open for writing cannot be executed: go on with a descriptor that only reads.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let read_only = std::fs::File::open(path).map_err(fail)?;
    Ok(read_only.into())
}

fn encode(
    packet: &mut [u8],
    kind: PacketKind,
    write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), crucible_guest::protocol::Overflow>,
) -> Result<usize, EngineError> {
    let mut writer = WireWriter::new(packet);
    let written = writer.u8(kind as u8).and_then(|()| write(&mut writer));
    match written {
        Ok(()) => Ok(writer.len()),
        Err(_) => Err(protocol("a packet is too long", false)),
    }
}

fn send(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut control, flags)
    })
    .map(drop)
}

fn receive(socket: BorrowedFd<'_>, packet: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, flags)
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}
