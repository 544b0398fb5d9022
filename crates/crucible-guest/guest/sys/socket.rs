//! Messages with file descriptors (unix(7)).

use core::ptr;

use super::errno::{Errno, Result};
use super::machine::{nr, syscall};
use super::{Fd, check, signed};

/// The maximum number of file descriptors in one message: a socket, and the ones a sandbox joins.
pub(crate) const FDS_MAX: usize = 8;

/// The file descriptors of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fds {
    fds: [Fd; FDS_MAX],
    count: usize,
}

impl Fds {
    pub(crate) const fn none() -> Self {
        Self { fds: [Fd(-1); FDS_MAX], count: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[Fd] {
        self.fds.get(..self.count).unwrap_or_default()
    }

    /// Closes all of them.
    pub(crate) fn close(&mut self) {
        for fd in self.as_slice() {
            super::close(*fd);
        }
        self.count = 0;
    }

    /// Moves the descriptors to the caller.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::none())
    }
}

/// `struct iovec` (readv(2)).
#[repr(C)]
struct IoVector {
    base: *const u8,
    length: usize,
}

/// `struct msghdr` (sendmsg(2)).
#[repr(C)]
struct MessageHeader {
    name: *const u8,
    name_length: usize,
    vectors: *const IoVector,
    vector_count: usize,
    control: *const u8,
    control_length: usize,
    flags: usize,
}

/// `struct cmsghdr` with room for descriptors (cmsg(3)).
#[repr(C, align(8))]
struct ControlMessage {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; FDS_MAX],
}

const HEADER: usize = 16;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_CTRUNC: usize = 8;
const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;

/// sendmsg(2): two byte strings one after another, and at most one descriptor.
pub(crate) fn send(socket: Fd, head: &[u8], body: &[u8], fd: Option<Fd>) -> Result<usize> {
    let vectors = [
        IoVector { base: head.as_ptr(), length: head.len() },
        IoVector { base: body.as_ptr(), length: body.len() },
    ];
    let mut control = ControlMessage {
        length: HEADER + 4,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fds: [-1; FDS_MAX],
    };
    if let (Some(fd), Some(slot)) = (fd, control.fds.first_mut()) {
        *slot = fd.0;
    }
    let message = MessageHeader {
        name: ptr::null(),
        name_length: 0,
        vectors: vectors.as_ptr(),
        vector_count: vectors.len(),
        control: if fd.is_some() { (&raw const control).cast() } else { ptr::null() },
        control_length: if fd.is_some() { HEADER + 8 } else { 0 },
        flags: 0,
    };
    let arguments = [signed(socket.0), &raw const message as usize, signed(MSG_NOSIGNAL), 0, 0, 0];
    // SAFETY: the message refers to two slices and, with a descriptor, one control message, all
    // alive here.
    check(unsafe { syscall(nr::SENDMSG, arguments) })
}

/// recvmsg(2): returns the number of bytes and the descriptors. 0 bytes mean that the peer has
/// closed its end.
///
/// More than [`FDS_MAX`] descriptors are an error. The kernel closes the excess.
pub(crate) fn receive(socket: Fd, buffer: &mut [u8]) -> Result<(usize, Fds)> {
    let vector = IoVector { base: buffer.as_mut_ptr(), length: buffer.len() };
    let mut control = ControlMessage { length: 0, level: 0, kind: 0, fds: [-1; FDS_MAX] };
    let mut message = MessageHeader {
        name: ptr::null(),
        name_length: 0,
        vectors: &raw const vector,
        vector_count: 1,
        control: (&raw mut control).cast_const().cast(),
        control_length: size_of::<ControlMessage>(),
        flags: 0,
    };
    let arguments =
        [signed(socket.0), &raw mut message as usize, signed(MSG_CMSG_CLOEXEC), 0, 0, 0];
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is exclusively borrowed,
    // and the control message, which is local.
    let count = check(unsafe { syscall(nr::RECVMSG, arguments) })?;
    let mut fds = Fds::none();
    if message.control_length >= HEADER && control.level == SOL_SOCKET && control.kind == SCM_RIGHTS
    {
        let numbers = control.fds.iter().take(control.length.saturating_sub(HEADER) / 4);
        for (slot, number) in fds.fds.iter_mut().zip(numbers) {
            *slot = Fd(*number);
            fds.count += 1;
        }
    }
    if message.flags & MSG_CTRUNC != 0 {
        fds.close();
        return Err(Errno::PROTO);
    }
    Ok((count, fds))
}
