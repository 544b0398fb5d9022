//! Waiting for what has ended: the command, and every orphan.

use super::errno::{Errno, Result, retry};
use super::number::parse;
use super::sys::{self, Fd, O_CLOEXEC, O_RDONLY, Rusage, SIGKILL};

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
///
/// Where we are not process 1, `everybody` is a process group. What has left it is ours when its parents have ended.
pub(crate) fn reap_everything(everybody: i32) -> Result<u32> {
    let mut survivors = 0;
    loop {
        match sys::kill(everybody, SIGKILL) {
            Err(Errno::SRCH) if everybody != -1 => kill_children()?,
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

/// Ends our own children, whatever session they are in.
pub(crate) fn kill_children() -> Result<()> {
    let file = sys::open(c"/proc/thread-self/children", O_RDONLY | O_CLOEXEC, 0)?;
    let mut buffer = [0; 4096];
    let count = retry(|| sys::read(file, &mut buffer));
    sys::close(file);
    // Every number has a space after it. One that was cut off is found the next time.
    let numbers = buffer.get(..count?).unwrap_or_default().split_inclusive(|byte| *byte == b' ');
    for pid in numbers.filter_map(|number| parse(number.strip_suffix(b" ")?)) {
        match i32::try_from(pid).map(|pid| sys::kill(pid, SIGKILL)) {
            Ok(Ok(()) | Err(Errno::SRCH)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Errno::INVAL),
        }
    }
    Ok(())
}
