//! The channel to one guest.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::Duration;

use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, Opened, WireWriter};
use crucible_guest_client::errors::{protocol, setup};
use crucible_guest_client::{Channel, ChannelExt as _, Disconnected, Frame, ResponseRouter};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::Interest;
use tokio::sync::Mutex;

use super::frame_reader::{FrameReader, ReadError};
use super::guest_socket::GuestSocket;
use crate::linux::audit::GuestId;
use crate::linux::sys;

/// The channel to one guest.
#[derive(Debug)]
pub(crate) struct GuestChannel {
    socket: GuestSocket,
    /// Keeps the bytes of concurrent frames apart.
    writing: Mutex<()>,
    reading: Mutex<FrameReader>,
    router: ResponseRouter,
    state: GuestState,
}

/// Facts about the guest that only this engine's guests report.
#[derive(Debug, Default)]
struct GuestState {
    pidfd: OnceLock<OwnedFd>,
    /// The guest's process id, as the spawner and this process see it. The spawner reports it
    /// before the guest can send anything.
    pid: OnceLock<u32>,
    /// Set when the guest's slot has reported that the sandbox is gone.
    exited: OnceLock<()>,
    is_in_slot: bool,
    /// The egress listener, until the sandbox takes it.
    egress_listener: SyncMutex<Option<OwnedFd>>,
}

/// The parts of a closed channel.
#[derive(Debug)]
pub(crate) struct ChannelParts {
    pub(crate) socket: GuestSocket,
    /// The guest's process id, if the spawner's report was read.
    pub(crate) guest: Option<u32>,
    pub(crate) pidfd: Option<OwnedFd>,
    pub(crate) mounts: Option<OwnedFd>,
    /// The reader, with the bytes that were read and not used.
    pub(crate) reader: FrameReader,
    /// `true` if the guest's slot has reported that the sandbox is gone.
    pub(crate) has_exited: bool,
}

impl GuestChannel {
    /// Creates the channel to a guest with its own socket.
    pub(crate) fn new(socket: GuestSocket) -> Self {
        Self::over(socket, FrameReader::new(), false)
    }

    /// Creates the channel to a guest in a slot. `reader` may contain bytes already.
    pub(crate) fn in_slot(socket: GuestSocket, reader: FrameReader) -> Self {
        Self::over(socket, reader, true)
    }

    fn over(socket: GuestSocket, reader: FrameReader, is_in_slot: bool) -> Self {
        Self {
            socket,
            writing: Mutex::new(()),
            reading: Mutex::new(reader),
            router: ResponseRouter::new(),
            state: GuestState { is_in_slot, ..GuestState::default() },
        }
    }

    /// Returns `true` if the guest's slot has reported that the sandbox is gone.
    pub(crate) fn has_exited(&self) -> bool {
        self.state.exited.get().is_some()
    }

    /// Returns the guest's pidfd, once the spawner has sent it.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.state.pidfd.get().map(|pidfd| pidfd.as_fd())
    }

    /// Returns the id under which violations of the guest are counted.
    pub(crate) fn guest(&self) -> Option<GuestId> {
        GuestId::new(*self.state.pid.get()?, self.pidfd()?)
    }

    /// Waits until the guest has died, and with it every process of the sandbox. Never returns if
    /// the guest's pidfd is unknown.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub(crate) async fn died(&self) {
        // The slot reaps the guest and reports it.
        if self.state.is_in_slot && self.wait_for(|| self.state.exited.get().copied()).await.is_ok()
        {
            return;
        }
        if let Some(pidfd) = self.pidfd() {
            // Most sandboxes wait by poll(2). The pidfd is registered only when a task waits.
            match sys::watch(pidfd, Interest::READABLE) {
                Ok(watched) if watched.readable().await.is_ok() => return,
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "cannot watch a guest's pidfd"),
            }
        }
        std::future::pending().await
    }

    /// Returns `true` if the guest is dead or dies within `patience`. Blocks the thread.
    pub(crate) fn dies_within(&self, patience: Duration) -> bool {
        self.pidfd().is_some_and(|pidfd| sys::is_readable_within(pidfd, patience))
    }

    /// Sends a frame with the payload `head` and then `body`. Descriptors go with its first byte.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a partial frame in the socket. The channel is then unusable.
    pub(crate) async fn send_with(
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
                Err(error) if is_closed(&error) => return Err(self.disconnect_reason().await),
                Err(error) => return Err(Disconnected::Error(setup("send to the guest", error))),
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

    /// Waits until the spawner has sent the guest's pidfd, or the channel has ended without one.
    pub(crate) async fn wait_for_pidfd(&self) {
        // The caller finds out how the channel ended.
        let _found = self.wait_for(|| self.state.pidfd.get().map(drop)).await;
    }

    /// Waits for the egress listener of a sandbox with an allow-list.
    pub(crate) async fn egress_listener(&self) -> Result<OwnedFd, Disconnected> {
        self.reading.lock().await.expect_egress_listener();
        let slot = &self.state.egress_listener;
        self.wait_for(|| slot.lock().unwrap_or_else(PoisonError::into_inner).take()).await
    }

    /// Records a frame about the sandbox itself. Each kind may arrive once: a guest could repeat
    /// itself for ever.
    fn note_state(&self, frame: &Frame, egress_listener: Option<OwnedFd>) {
        match frame.kind {
            FrameKind::Opened => match Opened::decode(&frame.payload) {
                Ok(opened) if self.state.pid.set(opened.pid).is_ok() => {}
                Ok(_) => self.router.record_protocol_error("it was opened twice"),
                Err(_) => self.router.record_protocol_error("its process id is malformed"),
            },
            FrameKind::EgressListener => match egress_listener {
                Some(listener) => {
                    let slot = &self.state.egress_listener;
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
                    self.router.notify();
                }
                None => self.router.record_protocol_error("it sent an unexpected egress listener"),
            },
            FrameKind::SandboxExited if self.state.is_in_slot => {
                let _first = self.state.exited.set(());
                self.router.record_end();
            }
            FrameKind::Ready => self.router.record_greeting(&frame.payload),
            FrameKind::Failed => self.router.record_setup_failure(&frame.payload),
            _ => self.router.record_protocol_error("it sent an unexpected frame"),
        }
    }

    /// Returns the number of waiting frames, and the capacity of the reader.
    #[cfg(test)]
    pub(crate) async fn buffered(&self) -> (usize, usize) {
        (self.router.queued(), self.reading.lock().await.capacity())
    }

    /// Returns the parts, for the teardown or the recycling of the sandbox.
    pub(crate) fn into_parts(self) -> ChannelParts {
        let mut reader = self.reading.into_inner();
        let guest = self.state.pid.into_inner();
        let pidfd = self.state.pidfd.into_inner().or_else(|| reader.take_pidfd());
        let (mounts, has_exited) = (reader.take_mounts(), self.state.exited.get().is_some());
        ChannelParts { socket: self.socket, guest, pidfd, mounts, reader, has_exited }
    }
}

impl Channel for GuestChannel {
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
            // The reader returns one pidfd only.
            let _first = self.state.pidfd.set(pidfd);
        }
        let frame = match read {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.router.record_end();
                return;
            }
            Err(ReadError::Malformed) => {
                self.router.record_protocol_error("it sent bytes that are not a frame");
                return;
            }
            Err(ReadError::Io(error)) => {
                tracing::debug!(%error, "cannot read from a guest's channel");
                self.router.record_end();
                return;
            }
        };
        if frame.id != 0 {
            self.router.deliver(frame);
            return;
        }
        let listener = if frame.kind == FrameKind::EgressListener {
            reader.take_egress_listener()
        } else {
            None
        };
        self.note_state(&frame, listener);
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
}
