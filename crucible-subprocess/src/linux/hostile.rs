//! A guest that is none of ours: a double of the guest agent whose every byte is the test's.
//!
//! Whatever it says, and however late, the host neither panics nor waits for ever nor keeps more than its bounds: it gets
//! an [`EngineError`](crucible_core::EngineError) of the right kind, or an outcome that is true. Time is mocked where a
//! deadline is to pass; bounds are counted where they are kept.

mod commands;
mod files;
mod words;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use crucible_core::{Layer, Limits};
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, PAYLOAD_MAX_TO_GUEST, WireWriter};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, PidfdFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::engine::SubprocessEngine;
use super::link::Link;
use super::sandbox::SubprocessSandbox;
use super::socket::Socket;

/// The far end of a link.
struct Double {
    stream: UnixStream,
}

/// Both ends of a channel: ours, and the far one.
fn ends() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Socket::new(ours.into_std().unwrap().into()).unwrap(), theirs)
}

/// A frame as it travels.
fn frame(kind: FrameKind, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_SIZE];
    let length = u32::try_from(payload.len()).unwrap();
    Header { kind, id, length }.encode(&mut WireWriter::new(&mut header)).unwrap();
    [&header, payload].concat()
}

/// What a writer writes.
fn bytes(
    write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), crucible_guest::protocol::Overflow>,
) -> Vec<u8> {
    let mut buffer = [0; 8192];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.written().to_vec()
}

impl Double {
    /// A link, and who is at its other end.
    fn of_link() -> (Link, Self) {
        let (ours, theirs) = ends();
        (Link::new(ours), Self { stream: theirs })
    }

    async fn say(&mut self, kind: FrameKind, id: u32, payload: &[u8]) {
        self.say_bytes(&frame(kind, id, payload)).await;
    }

    async fn say_bytes(&mut self, bytes: &[u8]) {
        // The host may have had enough.
        let _heard = self.stream.write_all(bytes).await;
    }

    /// Says the same until nobody listens any more, or for as long as anyone does.
    async fn say_for_ever(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).await.is_ok() {}
    }

    /// Says something with descriptors along.
    fn say_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let slices = [std::io::IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(self.stream.as_fd(), &slices, &mut control, flags).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The next request.
    async fn hear(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_SIZE];
        self.stream.read_exact(&mut header).await.ok()?;
        let header = Header::decode(&header, PAYLOAD_MAX_TO_GUEST).unwrap();
        let mut payload = vec![0; header.length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((header, payload))
    }

    /// Reads and never answers.
    async fn hear_for_ever(&mut self) {
        while self.hear().await.is_some() {}
        std::future::pending().await
    }
}

/// A process that stands in for the guest, for as long as the test lasts.
struct StandIn(Child);

impl StandIn {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pidfd(&self) -> OwnedFd {
        let pid = Pid::from_child(&self.0);
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    /// Whether it has been ended, once `patience` has passed at the latest.
    fn dies(&mut self) -> bool {
        for _ in 0..1000 {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have been ended before.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// An engine, an open sandbox of it, and who is in there.
struct Scene {
    sandbox: Box<SubprocessSandbox>,
    double: Double,
    stand_in: StandIn,
    /// Dropped after its sandbox.
    _engine: SubprocessEngine,
}

/// The limits of a scene.
fn limits() -> Limits {
    Limits::new().with_wall(std::time::Duration::from_secs(20))
}

impl Scene {
    fn new() -> Self {
        Self::without(&[])
    }

    /// With an engine that does without these layers.
    fn without(waived: &[Layer]) -> Self {
        let dedicated =
            [Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup, Layer::DedicatedUser];
        let unavailable = if rustix::process::geteuid().is_root() { &[][..] } else { &dedicated };
        let waived = waived.iter().chain(unavailable);
        let builder =
            waived.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
        let engine = match builder.build() {
            Ok(engine) => engine,
            Err(error) => panic!("{}", crucible_core::error_chain(&error)),
        };
        let holdings = engine
            .inner
            .lease(super::resources::Size::from(&limits()), &crucible_core::Network::None)
            .unwrap()
            .into_holdings()
            .unwrap();
        let (ours, theirs) = ends();
        let sandbox = SubprocessSandbox::over(&engine.inner, holdings, limits(), ours);
        let (double, stand_in) = (Double { stream: theirs }, StandIn::start());
        let pid = stand_in.0.id().to_le_bytes();
        double.say_with(&frame(FrameKind::Opened, 0, &pid), &[stand_in.pidfd().as_fd()]);
        Self { sandbox: Box::new(sandbox), double, stand_in, _engine: engine }
    }
}
