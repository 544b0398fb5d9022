//! A fake guest agent: every byte that the host receives is the test's.
//!
//! Whatever the fake guest sends, and however late, the host does not panic, does not wait for ever
//! and buffers no more than its bounds. The caller gets an
//! [`EngineError`](crucible_core::EngineError) of the right kind, or a true outcome. Time is mocked
//! for deadlines, and bounds are checked where the host keeps them.
//!
//! These tests need the crate's internals, so `src/linux/mod.rs` includes this module.

mod channel;
mod commands;
mod files;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crucible_core::{Layer, Limits, Network, error_chain};
use crucible_guest::protocol::{
    FrameKind, HEADER_SIZE, Header, Overflow, PAYLOAD_MAX_TO_GUEST, WireWriter,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, PidfdFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::linux::channel::{GuestChannel, GuestSocket};
use crate::linux::engine::SubprocessEngine;
use crate::linux::resources::SandboxSize;
use crate::linux::sandbox::SubprocessSandbox;

/// The guest's end of a channel.
struct FakeGuest {
    stream: UnixStream,
}

/// Creates a channel's socket. Returns the host's end and the guest's end.
fn socket_pair() -> (GuestSocket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (GuestSocket::new(ours.into_std().unwrap().into()).unwrap(), theirs)
}

/// Encodes a frame.
fn frame(kind: FrameKind, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_SIZE];
    let length = u32::try_from(payload.len()).unwrap();
    Header { kind, id, length }.encode(&mut WireWriter::new(&mut header)).unwrap();
    [&header, payload].concat()
}

/// Encodes a message.
fn bytes(write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = [0; 8192];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.written().to_vec()
}

impl FakeGuest {
    /// Creates a channel with a fake guest at its other end.
    fn with_channel() -> (GuestChannel, Self) {
        let (ours, theirs) = socket_pair();
        (GuestChannel::new(ours), Self { stream: theirs })
    }

    async fn send(&mut self, kind: FrameKind, id: u32, payload: &[u8]) {
        self.send_bytes(&frame(kind, id, payload)).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        // The host may have closed its end.
        let _sent = self.stream.write_all(bytes).await;
    }

    /// Sends the same bytes until the host closes its end.
    async fn send_forever(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).await.is_ok() {}
    }

    /// Sends bytes with descriptors.
    fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let slices = [std::io::IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(self.stream.as_fd(), &slices, &mut control, flags).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// Receives the next request.
    async fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_SIZE];
        self.stream.read_exact(&mut header).await.ok()?;
        let header = Header::decode(&header, PAYLOAD_MAX_TO_GUEST).unwrap();
        let mut payload = vec![0; header.length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((header, payload))
    }

    /// Receives requests and never answers.
    async fn receive_forever(&mut self) {
        while self.receive().await.is_some() {}
        std::future::pending().await
    }
}

/// A process in place of the guest, killed on drop.
struct GuestProcess(Child);

impl GuestProcess {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pidfd(&self) -> OwnedFd {
        let pid = Pid::from_child(&self.0);
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    /// Returns `true` if the process ends within ten seconds.
    fn dies(&mut self) -> bool {
        for _ in 0..1000 {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for GuestProcess {
    fn drop(&mut self) {
        // The host may have killed it.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// An engine, and an open sandbox with a fake guest.
struct FakeGuestFixture {
    sandbox: Box<SubprocessSandbox>,
    guest: FakeGuest,
    process: GuestProcess,
    /// Dropped after its sandbox.
    _engine: SubprocessEngine,
}

/// Returns the limits of the sandbox.
fn limits() -> Limits {
    Limits::new().with_wall(Duration::from_secs(20))
}

impl FakeGuestFixture {
    fn new() -> Self {
        Self::without(&[])
    }

    /// Creates a fixture with an engine that waives these layers.
    fn without(waived: &[Layer]) -> Self {
        let privileged =
            [Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup, Layer::DedicatedUser];
        let unavailable = if rustix::process::geteuid().is_root() { &[][..] } else { &privileged };
        let waived = waived.iter().chain(unavailable);
        let builder =
            waived.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
        let engine = match builder.build() {
            Ok(engine) => engine,
            Err(error) => panic!("{}", error_chain(&error)),
        };
        let context = &engine.state.context;
        let size = SandboxSize::from(&limits());
        let reservation = context.allocator.reserve(size, &Network::None).unwrap();
        let (ours, theirs) = socket_pair();
        let sandbox = SubprocessSandbox::new(context, reservation, limits(), ours);
        let (guest, process) = (FakeGuest { stream: theirs }, GuestProcess::start());
        let pid = process.0.id().to_le_bytes();
        guest.send_with(&frame(FrameKind::Opened, 0, &pid), &[process.pidfd().as_fd()]);
        Self { sandbox: Box::new(sandbox), guest, process, _engine: engine }
    }
}
