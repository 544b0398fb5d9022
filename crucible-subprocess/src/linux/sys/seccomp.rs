//! System calls that a seccomp filter reports to a listener (seccomp_unotify(2)).

#![expect(unsafe_code, reason = "seccomp_unotify(2) has no safe wrapper")]

use std::io;
#[cfg(test)]
use std::os::fd::OwnedFd;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// A system call that the filter stopped, and that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// The calling thread, as this process sees it.
    pub(crate) pid: u32,
    pub(crate) architecture: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// Receives the next waiting call. Blocks until there is one.
pub(crate) fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // The kernel requires zeroes.
    let nothing = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut call = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data: nothing };
    // SAFETY: the kernel writes one structure. Its size is part of the request's number, and is
    // the size of `call`.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Notification {
        id: call.id,
        pid: call.pid,
        architecture: call.data.arch,
        number: call.data.nr.cast_unsigned(),
        arguments: call.data.args,
    })
}

/// Returns `true` if the call still waits: its thread lives and has not been interrupted.
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    /// `SECCOMP_IOCTL_NOTIF_ID_VALID` as Linux 5.0 defined it, with the wrong direction bit. Every
    /// kernel accepts this number.
    const ID_VALID: libc::Ioctl = 0x8008_2102;
    // SAFETY: the kernel reads one number of 64 bits.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) == 0 }
}

/// Answers a call with an error number.
pub(crate) fn refuse(listener: BorrowedFd<'_>, id: u64, errno: u16) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -i32::from(errno), flags: 0 };
    // SAFETY: the kernel reads one structure. Its size is part of the request's number, and is the
    // size of `answer`.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Loads a filter that allows every call and has a listener, for this thread and its children.
#[cfg(test)]
pub(crate) fn listen_to_nothing() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut instructions = [allow];
    let program = libc::sock_fprog { len: 1, filter: instructions.as_mut_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program names one instruction, which lives for the call. The kernel copies it.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just created this descriptor, and no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
