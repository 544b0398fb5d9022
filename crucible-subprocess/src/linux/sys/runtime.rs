//! Registration of descriptors with the tokio runtime.

#![expect(unsafe_code, reason = "tokio cannot check that a descriptor stays open")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::OFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime, to wait until it is readable or writable.
pub(crate) fn watch<T: AsFd + AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: callers pass an `OwnedFd` or a `BorrowedFd`, which name the same open descriptor for
    // as long as they live. The `AsyncFd` owns it, hands out shared references only, and removes
    // the registration before it returns the descriptor.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

/// Makes operations on the host's end of a pipe non-blocking, and returns it.
pub(crate) fn set_nonblocking(end: OwnedFd) -> io::Result<OwnedFd> {
    rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK)?;
    Ok(end)
}
