//! Waiting for what has ended: the command, and every orphan.

use super::errno::{Errno, Result, retry};
use super::sys::{self, Fd, Rusage, SIGKILL};

/// A command that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) usage: Rusage,
    /// Whether nothing else was left.
    pub(crate) alone: bool,
}

/// Empties the descriptor that says that children have ended: they are looked for by waiting.
pub(crate) fn drain(children: Fd) -> Result<()> {
    let mut info = [0; 128];
    loop {
        match retry(|| sys::read(children, &mut info)) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reaps everything that has ended. Gives how `target` ended, if it did.
pub(crate) fn reap_all(target: Option<i32>) -> Result<Option<Ended>> {
    let mut ended: Option<Ended> = None;
    loop {
        match retry(sys::reap_now) {
            Ok(Some(child)) if Some(child.pid) == target => {
                ended = Some(Ended { status: child.status, usage: child.usage, alone: false });
            }
            // An orphan.
            Ok(Some(_)) => {}
            Ok(None) => return Ok(ended),
            Err(Errno::CHILD) => {
                return Ok(ended.map(|ended| Ended { alone: true, ..ended }));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits for one child, which is ending.
pub(crate) fn wait_for(pid: i32) -> Result<()> {
    while retry(sys::reap_next)?.pid != pid {}
    Ok(())
}

/// Whether there is no child at all, dead or alive.
pub(crate) fn is_empty() -> Result<bool> {
    loop {
        match retry(sys::reap_now) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(Errno::CHILD) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// Ends `everybody` and waits until nobody is left: `ECHILD` in process 1 proves that. Gives how many there were.
pub(crate) fn reap_everything(everybody: i32) -> Result<u32> {
    let mut survivors = 0;
    loop {
        match sys::kill(everybody, SIGKILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error),
        }
        match retry(sys::reap_next) {
            Ok(child) if child.status & 0x7f == SIGKILL => survivors += 1,
            Ok(_) => {}
            Err(Errno::CHILD) => return Ok(survivors),
            Err(error) => return Err(error),
        }
    }
}
