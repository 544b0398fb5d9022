//! Reading frames from a guest, and the descriptors that come along with them. Every byte is hostile.

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

use super::socket::Socket;

/// The most descriptors along with a frame: a command's streams, or the cgroups of a sandbox.
const FDS_MAX: usize = 4;

/// Why there is no next frame.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What came is not a frame.
    Malformed,
    Io(std::io::Error),
}

impl From<InvalidFrame> for ReadError {
    fn from(_: InvalidFrame) -> Self {
        Self::Malformed
    }
}

/// Cuts what comes into frames.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    frames: FrameDecoder,
    /// The first descriptor that came: the guest's pidfd, from the spawner.
    pidfd: Option<OwnedFd>,
    /// The second: the sandbox's mounts, from a guest that ends. Whatever else a guest sends is closed.
    mounts: Option<OwnedFd>,
    /// What comes between the two from a sandbox with an allow-list: its way out.
    door: Option<OwnedFd>,
    expects_door: bool,
    received: u8,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// What comes is another guest's.
    pub(super) fn begin_anew(&mut self) {
        (self.pidfd, self.mounts, self.door) = (None, None, None);
        (self.expects_door, self.received) = (false, 0);
    }

    /// The sandbox has an allow-list.
    pub(super) fn expect_door(&mut self) {
        self.expects_door = true;
    }

    /// The socket that listens inside of the sandbox.
    pub(super) fn take_door(&mut self) -> Option<OwnedFd> {
        self.door.take()
    }

    /// How much memory it has taken.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.frames.capacity()
    }

    /// The descriptor that came along with the first frame.
    pub(super) fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// The sandbox's mount namespace, which lives for as long as this is open.
    pub(super) fn take_mounts(&mut self) -> Option<OwnedFd> {
        self.mounts.take()
    }

    /// The next frame; `None` if the guest's side has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self, socket: &Socket) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(frame));
            }
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let read = socket.receive(|| self.receive(socket.as_fd(), flags)).await;
            if read.map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame of a socket that blocks; `None` if the guest's side has ended.
    pub(super) fn next_blocking(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(frame));
            }
            if self.receive(socket, RecvFlags::CMSG_CLOEXEC).map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads once. 0: the guest's side has ended.
    fn receive(&mut self, socket: BorrowedFd<'_>, flags: RecvFlags) -> std::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = self.frames.spare_mut();
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                for fd in rights {
                    self.received = self.received.saturating_add(1);
                    match (self.received, self.expects_door) {
                        (1, _) => self.pidfd = Some(fd),
                        (2, true) => self.door = Some(fd),
                        (2, false) | (3, true) => self.mounts = Some(fd),
                        _ => drop(fd),
                    }
                }
            }
        }
        self.frames.advance(received.bytes);
        Ok(received.bytes)
    }
}

/// Sends a frame over a socket that blocks, and descriptors along with it. It must fit into the socket's buffer.
pub(super) fn send_blocking(
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
        .map_err(|error| setup("talk to the guest", error))?;
    if sent < HEADER_SIZE + payload.len() {
        Err(protocol("a request does not fit", false))
    } else {
        Ok(())
    }
}
