//! Whom the kernel ends when a container's memory runs out: the program, and not the guest, which is to tell of it. The daemon hears of such an
//! end, but not of each.

use super::errno::{Errno, Result, retry};
use super::sys::{self, Fd, O_CLOEXEC};

/// Half of all memory is added to what a process uses, so that it goes before the guest (proc_pid_oom_score_adj(5)). To raise one's own
/// takes no privilege, nor to take that back.
const FIRST: &[u8] = b"500";
const O_RDWR: i32 = 2;

/// The guest's own score, which what it starts begins with.
pub(crate) struct Score {
    file: Fd,
    own: [u8; 8],
    length: usize,
}

impl Score {
    /// Opens it, while the guest still may.
    pub(crate) fn open() -> Result<Self> {
        let file = sys::open(c"/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC, 0)?;
        let mut own = [0; 8];
        match retry(|| sys::read(file, &mut own)) {
            Ok(length @ 1..) => Ok(Self { file, own, length }),
            Ok(_) => Err(Errno::INVAL),
            Err(error) => Err(error),
        }
    }

    /// What is started meanwhile goes first. Where that cannot be had, the kernel chooses by size, as it does otherwise.
    pub(crate) fn raised<T>(&self, start: impl FnOnce() -> T) -> T {
        let raised = sys::write(self.file, FIRST);
        let started = start();
        if raised.is_ok() {
            let _lowered = sys::write(self.file, self.own.get(..self.length).unwrap_or_default());
        }
        started
    }
}
