//! FrameDecoder of a guest, and the descriptors that arrive with them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crucible_core::EngineError;
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, WireWriter};
use crucible_guest_client::errors::{protocol, setup};
use crucible_guest_client::{Frame, FrameDecoder, InvalidFrame};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::guest_socket::GuestSocket;

/// The maximum number of descriptors with one frame: a command's streams, or the cgroups of a
/// sandbox.
const FDS_MAX: usize = 4;

/// The reason why there is no next frame.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The received bytes are not a frame.
    Malformed,
    Io(std::io::Error),
}

impl From<InvalidFrame> for ReadError {
    fn from(_: InvalidFrame) -> Self {
        Self::Malformed
    }
}

/// Splits the received bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    decoder: FrameDecoder,
    /// The first descriptor: the guest's pidfd, from the spawner.
    pidfd: Option<OwnedFd>,
    /// The second descriptor: the sandbox's mounts, from a guest that ends. All others are closed.
    mounts: Option<OwnedFd>,
    /// A descriptor between those two, from a sandbox with an allow-list: its egress listener.
    egress_listener: Option<OwnedFd>,
    expects_egress_listener: bool,
    received: u8,
}

impl FrameReader {
    /// Creates a reader that has read nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Prepares for the descriptors of another guest.
    pub(crate) fn reset(&mut self) {
        (self.pidfd, self.mounts, self.egress_listener) = (None, None, None);
        (self.expects_egress_listener, self.received) = (false, 0);
    }

    /// Expects an egress listener, because the sandbox has an allow-list.
    pub(super) fn expect_egress_listener(&mut self) {
        self.expects_egress_listener = true;
    }

    /// Takes the socket that listens inside of the sandbox.
    pub(super) fn take_egress_listener(&mut self) -> Option<OwnedFd> {
        self.egress_listener.take()
    }

    /// Returns the capacity of the buffer.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.decoder.capacity()
    }

    /// Takes the guest's pidfd, which arrives with the first frame.
    pub(crate) fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// Takes the descriptor that keeps the sandbox's mount namespace alive.
    pub(super) fn take_mounts(&mut self) -> Option<OwnedFd> {
        self.mounts.take()
    }

    /// Reads the next frame. Returns `None` if the guest closed its end.
    ///
    /// # Cancel safety
    /// Dropping the future loses no byte.
    pub(crate) async fn next(&mut self, socket: &GuestSocket) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let read = socket.receive(|| self.receive(socket.as_fd(), flags)).await;
            if read.map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads the next frame of a blocking socket. Returns `None` if the guest closed its end.
    pub(crate) fn next_blocking(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if self.receive(socket, RecvFlags::CMSG_CLOEXEC).map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Receives once. Returns 0 if the guest closed its end.
    fn receive(&mut self, socket: BorrowedFd<'_>, flags: RecvFlags) -> std::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = self.decoder.spare_mut();
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                for fd in rights {
                    self.received = self.received.saturating_add(1);
                    match (self.received, self.expects_egress_listener) {
                        (1, _) => self.pidfd = Some(fd),
                        (2, true) => self.egress_listener = Some(fd),
                        (2, false) | (3, true) => self.mounts = Some(fd),
                        _ => drop(fd),
                    }
                }
            }
        }
        self.decoder.advance(received.bytes);
        Ok(received.bytes)
    }
}

/// Sends a frame with descriptors over a blocking socket. The frame must fit into its buffer.
pub(crate) fn send_blocking(
    socket: BorrowedFd<'_>,
    kind: FrameKind,
    id: u32,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), EngineError> {
    let mut header = [0; HEADER_SIZE];
    let length =
        u32::try_from(payload.len()).map_err(|_| protocol("a request is too long", false))?;
    Header { kind, id, length }
        .encode(&mut WireWriter::new(&mut header))
        .map_err(|_| protocol("a header does not fit", false))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(protocol("the descriptors do not fit", false));
    }
    let parts = [IoSlice::new(&header), IoSlice::new(payload)];
    let sent = rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
        .map_err(|error| setup("send to the guest", error))?;
    if sent < HEADER_SIZE + payload.len() {
        Err(protocol("a request does not fit", false))
    } else {
        Ok(())
    }
}
