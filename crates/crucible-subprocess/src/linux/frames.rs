//! Reading frames from a guest. Every byte is hostile.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bytes::Bytes;
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, PAYLOAD_MAX_TO_HOST};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How much is read at first: most guests say less than this in their lives. It grows for a long frame.
const FIRST_READ: usize = 4096;

/// A frame from a guest.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) id: u32,
    pub(super) payload: Bytes,
}

/// Why there is no next frame.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What came is not a frame.
    Malformed,
    Io(std::io::Error),
}

/// Cuts what comes into frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
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
        Self {
            buffer: vec![0; FIRST_READ],
            start: 0,
            end: 0,
            pidfd: None,
            mounts: None,
            door: None,
            expects_door: false,
            received: 0,
        }
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
        self.buffer.len()
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
    pub(super) async fn next(&mut self, stream: &UnixStream) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let read = stream.async_io(Interest::READABLE, || self.receive(stream.as_fd(), flags)).await;
            if read.map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame, if it has come as a whole.
    fn cut(&mut self) -> Result<Option<Frame>, ReadError> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(header) = pending.first_chunk::<HEADER_SIZE>() else { return Ok(None) };
        let header = Header::decode(header, PAYLOAD_MAX_TO_HOST).map_err(|_| ReadError::Malformed)?;
        let size = HEADER_SIZE + header.length as usize;
        let Some(frame) = pending.get(HEADER_SIZE..size) else {
            self.make_room(size);
            return Ok(None);
        };
        let payload = Bytes::copy_from_slice(frame);
        self.start += size;
        Ok(Some(Frame { kind: header.kind, id: header.id, payload }))
    }

    /// Makes room for a frame of `size` bytes from the start of what is pending.
    fn make_room(&mut self, size: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
    }

    /// The next frame of a socket that blocks; `None` if the guest's side has ended.
    pub(super) fn next_blocking(&mut self, socket: BorrowedFd<'_>) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            if self.receive(socket, RecvFlags::CMSG_CLOEXEC).map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads once. 0: the guest's side has ended.
    fn receive(&mut self, socket: BorrowedFd<'_>, flags: RecvFlags) -> std::io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            let pending = self.end - self.start;
            self.make_room(pending + FIRST_READ);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
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
        self.end += received.bytes;
        Ok(received.bytes)
    }
}
