//! What no library does for us without `unsafe`.

#![expect(
    unsafe_code,
    reason = "landlock_create_ruleset(2) and seccomp_unotify(2) have no safe wrappers"
)]

use std::io;
#[cfg(test)]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime, to wait until it can be read from, or written to.
pub(super) fn watch<T: AsFd + AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: what comes here is an `OwnedFd` or a `BorrowedFd`, which name the same open descriptor for as long as they live. The
    // `AsyncFd` owns it, gives out shared references only, and ends the registration before it gives it back.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

/// The version of the Landlock ABI that the kernel has; `None` if it has none, or has it switched off.
///
/// landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`.
pub(super) fn landlock_abi() -> Option<u8> {
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag, a null pointer and size 0 the call takes nothing from memory and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u8::try_from(version).ok().filter(|version| *version > 0)
}

/// A system call that a filter stopped, and that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    pub(super) id: u64,
    /// The thread that made it, as this process sees it.
    pub(super) pid: u32,
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// The next call that waits. Blocks if there is none (seccomp_unotify(2)).
pub(super) fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // The kernel insists on zeroes.
    let nothing = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut call = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data: nothing };
    // SAFETY: the kernel writes one structure of the size that is part of the request's number, which is this one's.
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

/// Whether a call still waits: its thread lives, and is where it was.
pub(super) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    /// `SECCOMP_IOCTL_NOTIF_ID_VALID` as Linux 5.0 had it, with the wrong direction: the only number that all know.
    const ID_VALID: libc::Ioctl = 0x8008_2102;
    // SAFETY: the kernel reads one number of 64 bits.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) == 0 }
}

/// Answers a call with an error number.
pub(super) fn refuse(listener: BorrowedFd<'_>, id: u64, errno: u16) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -i32::from(errno), flags: 0 };
    // SAFETY: the kernel reads one structure of the size that is part of the request's number, which is this one's.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Loads a filter that allows everything and has a listener, for this thread and what it starts.
#[cfg(test)]
pub(super) fn listen_to_nothing() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut instructions = [allow];
    let program = libc::sock_fprog { len: 1, filter: instructions.as_mut_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program names one instruction, which lives for the call; the kernel copies it.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
