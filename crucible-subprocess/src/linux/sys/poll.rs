//! Questions about one descriptor, answered by poll(2).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// The timeout of a poll that returns immediately.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Returns `true` if the descriptor is readable now.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    polls_readable(fd, &NOW)
}

/// Returns `true` if the descriptor is readable, or becomes readable within `patience`.
///
/// Blocks the thread for as long. An interrupted poll counts as a timeout.
pub(crate) fn is_readable_within(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    polls_readable(fd, &patience)
}

/// Returns `true` if the other end of a pipe or a socket is closed.
pub(crate) fn has_hung_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // The kernel reports a hang-up whether the caller asks for it or not.
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    Ok(rustix::event::poll(&mut fds, Some(&NOW))? > 0)
}

fn polls_readable(fd: BorrowedFd<'_>, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(timeout)), Ok(1..))
}
