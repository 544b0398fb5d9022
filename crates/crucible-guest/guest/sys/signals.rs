//! Signal dispositions and masks.

use super::errno::{Errno, Result};
use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, O_CLOEXEC, O_NONBLOCK, SIGCHLD, check, signed};

/// rt_sigaction(2) with `SIG_DFL` (0) or `SIG_IGN` (1).
fn set_action(signal: i32, handler: usize) -> Result<()> {
    // The kernel's `struct sigaction`: handler, flags, restorer, mask.
    let action = [handler, 0, 0, 0];
    // SAFETY: the kernel reads a `struct sigaction` with a mask of eight bytes. No handler function
    // is installed.
    let result = unsafe {
        syscall(nr::RT_SIGACTION, [signed(signal), action.as_ptr() as usize, 0, 8, 0, 0])
    };
    check(result).map(drop)
}

/// Restores the default dispositions of all signals, and unblocks them.
pub(crate) fn reset_signals() -> Result<()> {
    for signal in 1..=64 {
        // EINVAL: SIGKILL and SIGSTOP cannot be set.
        match set_action(signal, 0) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    set_mask(0)
}

/// Ignores SIGCHLD, so that the kernel reaps children.
pub(crate) fn ignore_children() -> Result<()> {
    set_action(SIGCHLD, 1)
}

/// Restores the default disposition of SIGCHLD, so that the caller can wait for children.
pub(crate) fn expect_children() -> Result<()> {
    set_action(SIGCHLD, 0)
}

/// rt_sigprocmask(2): blocks exactly the signals of this set.
pub(crate) fn set_mask(set: u64) -> Result<()> {
    const SIG_SETMASK: usize = 2;
    let arguments = [SIG_SETMASK, &raw const set as usize, 0, 8, 0, 0];
    // SAFETY: the kernel reads a mask of eight bytes.
    check(unsafe { syscall(nr::RT_SIGPROCMASK, arguments) }).map(drop)
}

/// Returns the set with this signal only.
pub(crate) const fn signal_set(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// signalfd(2)
pub(crate) fn signal_fd(set: u64) -> Result<Fd> {
    let arguments = [signed(-1), &raw const set as usize, 8, signed(O_CLOEXEC | O_NONBLOCK), 0, 0];
    // SAFETY: the kernel reads a mask of eight bytes.
    check(unsafe { syscall(nr::SIGNALFD4, arguments) }).and_then(to_fd)
}
