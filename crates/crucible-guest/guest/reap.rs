//! Reaping of the command and of orphans.

use super::decimal::parse;
use super::sys::{self, Errno, Fd, O_CLOEXEC, O_RDONLY, Result, Rusage, SIGKILL, retry};

/// The end of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandExit {
    pub(crate) status: i32,
    pub(crate) usage: Rusage,
    /// Whether no other process remained.
    pub(crate) alone: bool,
}

/// Empties the signalfd of SIGCHLD. The guest finds the ended children with wait4(2).
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

/// Reaps all children that have ended. Returns how `target` ended, if it is among them.
pub(crate) fn reap_all(target: Option<i32>) -> Result<Option<CommandExit>> {
    let mut exit: Option<CommandExit> = None;
    loop {
        match retry(sys::reap_now) {
            Ok(Some(child)) if Some(child.pid) == target => {
                exit = Some(CommandExit { status: child.status, usage: child.usage, alone: false });
            }
            // An orphan.
            Ok(Some(_)) => {}
            Ok(None) => return Ok(exit),
            Err(Errno::CHILD) => {
                return Ok(exit.map(|exit| CommandExit { alone: true, ..exit }));
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

/// Returns `true` if the guest has no child, live or dead.
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

/// Kills `target` and waits until no process remains, which `ECHILD` in process 1 proves. Returns
/// the number of killed processes.
///
/// If the guest is not process 1, `target` is a process group. Processes that left the group become
/// the guest's children when their parents end.
pub(crate) fn reap_everything(target: i32) -> Result<u32> {
    let mut survivors = 0;
    loop {
        match sys::kill(target, SIGKILL) {
            Err(Errno::SRCH) if target != -1 => kill_children()?,
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

/// Kills the guest's own children, in whichever session they are.
pub(crate) fn kill_children() -> Result<()> {
    let file = sys::open(c"/proc/thread-self/children", O_RDONLY | O_CLOEXEC, 0)?;
    let mut buffer = [0; 4096];
    let count = retry(|| sys::read(file, &mut buffer));
    sys::close(file);
    // A space follows every number. The next call finds a number that was truncated.
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
