//! The channel to one guest: a socket, with descriptors along.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::Duration;

use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, Opened, WireWriter};
use crucible_guest_client::errors::{protocol, setup};
use crucible_guest_client::{Channel, ChannelExt as _, Disconnected, Frame, ResponseRouter};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::Interest;
use tokio::sync::Mutex;

use super::frames::{FrameReader, ReadError};
use super::socket::Socket;
use super::sys;
use super::violations::Guest;

/// The channel to one guest.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    /// FrameDecoder must not be mixed.
    writing: Mutex<()>,
    reading: Mutex<FrameReader>,
    router: ResponseRouter,
    state: State,
}

/// What the guest side has said about itself, besides what every guest says.
#[derive(Debug, Default)]
struct State {
    /// The guest's pidfd.
    guest: OnceLock<OwnedFd>,
    /// The guest's process id, as the spawner and this process see it: the spawner's word, before the guest can say any.
    guest_pid: OnceLock<u32>,
    /// The guest's slot has said that nothing of the sandbox is left.
    gone: OnceLock<()>,
    is_in_slot: bool,
    /// The way out, until somebody takes it.
    door: SyncMutex<Option<OwnedFd>>,
}

/// What is left of a link.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) socket: Socket,
    /// The guest's process id, if anyone learnt of it.
    pub(super) guest: Option<u32>,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) mounts: Option<OwnedFd>,
    /// With what was read and not looked at.
    pub(super) reader: FrameReader,
    /// The guest's slot has said that nothing of the sandbox is left.
    pub(super) is_gone: bool,
}

impl Link {
    pub(super) fn new(socket: Socket) -> Self {
        Self::over(socket, FrameReader::new(), false)
    }

    /// The channel to a guest in a slot, from which something may have been read already.
    pub(super) fn in_slot(socket: Socket, reader: FrameReader) -> Self {
        Self::over(socket, reader, true)
    }

    fn over(socket: Socket, reader: FrameReader, is_in_slot: bool) -> Self {
        Self {
            socket,
            writing: Mutex::new(()),
            reading: Mutex::new(reader),
            router: ResponseRouter::new(),
            state: State { is_in_slot, ..State::default() },
        }
    }

    /// Whether the guest's slot has said that nothing of the sandbox is left.
    pub(super) fn is_gone(&self) -> bool {
        self.state.gone.get().is_some()
    }

    /// The guest's pidfd, once the spawner has sent it.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.state.guest.get().map(|pidfd| pidfd.as_fd())
    }

    /// The guest, as violations are counted for it.
    pub(super) fn guest(&self) -> Option<Guest> {
        Guest::new(*self.state.guest_pid.get()?, self.pidfd()?)
    }

    /// Waits until the guest has died, and everything of the sandbox with it. For ever, if nobody has learnt of a guest.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn died(&self) {
        // Its slot reaps it: that is the last of it.
        if self.state.is_in_slot && self.wait_for(|| self.state.gone.get().copied()).await.is_ok() {
            return;
        }
        if let Some(pidfd) = self.pidfd() {
            // Most are waited for otherwise: the runtime is told when it has to know.
            match sys::watch(pidfd, Interest::READABLE) {
                Ok(watched) if watched.readable().await.is_ok() => return,
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a guest's end cannot be watched"),
            }
        }
        std::future::pending().await
    }

    /// Whether the guest has died, or dies within `patience`. Blocks the thread for as long.
    pub(super) fn dies_within(&self, patience: Duration) -> bool {
        let Some(pidfd) = self.pidfd() else { return false };
        let Ok(patience) = Timespec::try_from(patience) else { return false };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        // An interrupted wait tells nothing, as one that was too short.
        matches!(rustix::event::poll(&mut fds, Some(&patience)), Ok(1..))
    }

    /// Sends a frame whose payload is `head` and then `body`, and descriptors along with its first byte.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of a frame on the way: the link is of no use then.
    pub(super) async fn send_with(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), Disconnected> {
        let length = u32::try_from(head.len() + body.len())
            .map_err(|_| Disconnected::Error(protocol("a request is too long", false)))?;
        let mut header = [0; HEADER_SIZE];
        let encoded = Header { kind, id, length }.encode(&mut WireWriter::new(&mut header));
        encoded.map_err(|_| Disconnected::Error(protocol("a header does not fit", false)))?;
        let _turn = self.writing.lock().await;
        let mut parts = [&header[..], head, body];
        let mut fds = fds;
        while parts.iter().any(|part| !part.is_empty()) {
            let sent = self.socket.send(|| self.send_some(&parts, fds)).await;
            let mut sent = match sent {
                Ok(count) => count,
                Err(error) if is_gone(&error) => return Err(self.disconnect_reason().await),
                Err(error) => return Err(Disconnected::Error(setup("talk to the guest", error))),
            };
            fds = &[];
            for part in &mut parts {
                let of_part = sent.min(part.len());
                *part = part.get(of_part..).unwrap_or_default();
                sent -= of_part;
            }
        }
        Ok(())
    }

    fn send_some(&self, parts: &[&[u8]; 3], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        }
        let slices = parts.map(IoSlice::new);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(self.socket.as_fd(), &slices, &mut control, flags)
        })?;
        Ok(sent)
    }

    /// Waits until it is known who the guest is, or that there is none. That is the spawner's word, which comes first.
    pub(super) async fn introduced(&self) {
        // How the conversation ended is for others to say.
        let _known = self.wait_for(|| self.state.guest.get().map(drop)).await;
    }

    /// Waits for the way out of a sandbox that was asked for with one.
    pub(super) async fn door(&self) -> Result<OwnedFd, Disconnected> {
        self.reading.lock().await.expect_door();
        self.wait_for(|| self.state.door.lock().unwrap_or_else(PoisonError::into_inner).take())
            .await
    }

    /// Takes note of what is said of the sandbox itself. Each of it is said once: a guest that repeats itself could do so
    /// for ever.
    fn note_word(&self, frame: &Frame, door: Option<OwnedFd>) {
        match frame.kind {
            FrameKind::Opened => match Opened::decode(&frame.payload) {
                Ok(opened) if self.state.guest_pid.set(opened.pid).is_ok() => {}
                Ok(_) => self.router.record_protocol_error("it exists twice"),
                Err(_) => self.router.record_protocol_error("its process id is malformed"),
            },
            FrameKind::EgressListener => match door {
                Some(door) => {
                    *self.state.door.lock().unwrap_or_else(PoisonError::into_inner) = Some(door);
                    self.router.notify();
                }
                None => self.router.record_protocol_error("it opens a door that nobody asked for"),
            },
            FrameKind::SandboxExited if self.state.is_in_slot => {
                let _the_first = self.state.gone.set(());
                self.router.record_end();
            }
            FrameKind::Ready => self.router.record_greeting(&frame.payload),
            FrameKind::Failed => self.router.record_setup_failure(&frame.payload),
            _ => self.router.record_protocol_error("it says what nobody asked for"),
        }
    }

    /// How many frames wait, and how much room the reader has taken.
    #[cfg(test)]
    pub(super) async fn held(&self) -> (usize, usize) {
        (self.router.queued(), self.reading.lock().await.room())
    }

    /// What is left of it, for whoever buries the sandbox.
    pub(super) fn into_parts(self) -> Parts {
        let mut reader = self.reading.into_inner();
        let guest = self.state.guest_pid.into_inner();
        let pidfd = self.state.guest.into_inner().or_else(|| reader.take_pidfd());
        let (mounts, is_gone) = (reader.take_mounts(), self.state.gone.get().is_some());
        Parts { socket: self.socket, guest, pidfd, mounts, reader, is_gone }
    }
}

impl Channel for Link {
    fn router(&self) -> &ResponseRouter {
        &self.router
    }

    async fn send(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), Disconnected> {
        self.send_with(kind, id, head, body, &[]).await
    }

    async fn read_frame(&self) {
        let mut reader = self.reading.lock().await;
        if self.router.is_disconnected() {
            return;
        }
        let read = reader.next(&self.socket).await;
        if let Some(pidfd) = reader.take_pidfd() {
            // The reader has but one.
            let _the_only_one = self.state.guest.set(pidfd);
        }
        let frame = match read {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.router.record_end();
                return;
            }
            Err(ReadError::Malformed) => {
                self.router.record_protocol_error("what it says is not a frame");
                return;
            }
            Err(ReadError::Io(error)) => {
                tracing::debug!(%error, "the guest's channel broke");
                self.router.record_end();
                return;
            }
        };
        if frame.id != 0 {
            self.router.deliver(frame);
            return;
        }
        let door = if frame.kind == FrameKind::EgressListener { reader.take_door() } else { None };
        self.note_word(&frame, door);
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
}
