//! Creation of processes and threads.

use super::sys::{self, MAP_ANONYMOUS, MAP_PRIVATE, NO_FD, Result, SIGCHLD};
use super::{arch, nr};

/// A number of processes above every limit of the suite, and harmless to a machine.
pub(crate) const MANY: usize = 200;
/// The lifetime of a leftover process.
const LEFT_BEHIND_MS: u64 = 4000;

const CLONE_VM: usize = 0x100;
const CLONE_VFORK: usize = 0x4000;
/// `CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM`
const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
const STACK: usize = 64 * 1024;

/// Forks with further flags of clone(2). Returns `None` in the child.
pub(crate) fn fork_with(flags: usize) -> Result<Option<i32>> {
    let pid = sys::call(nr::CLONE, [SIGCHLD | flags, 0, 0, 0, 0])?;
    Ok(if pid == 0 { None } else { Some(i32::try_from(pid).unwrap_or_default()) })
}

/// Starts a child that runs `program` and exits.
pub(crate) fn start(program: impl FnOnce()) -> Result<i32> {
    match fork_with(0)? {
        Some(pid) => Ok(pid),
        None => {
            program();
            sys::exit(0)
        }
    }
}

/// Starts a child as vfork(2) does, on its own stack. The caller sleeps uninterruptibly until the
/// child ends; only a fatal signal to the caller ends the sleep.
pub(crate) fn start_vfork(program: extern "C" fn() -> !) -> Result<i32> {
    clone_on_new_stack(CLONE_VM | CLONE_VFORK | SIGCHLD, program)
}

/// Starts a thread.
pub(crate) fn start_thread(program: extern "C" fn() -> !) -> Result<i32> {
    clone_on_new_stack(THREAD, program)
}

fn clone_on_new_stack(flags: usize, program: extern "C" fn() -> !) -> Result<i32> {
    let stack = sys::map(STACK, MAP_PRIVATE | MAP_ANONYMOUS, NO_FD)?;
    // SAFETY: the stack is new, 16-byte aligned at its end, and used by this thread only. The flags
    // contain `CLONE_VM`.
    let pid = unsafe { arch::clone_thread(flags, stack + STACK, program) };
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid >= 0)
        .ok_or(sys::SysError(i32::try_from(-pid).unwrap_or(i32::MAX)))
}

/// Sleeps, so that the process can be found later.
pub(crate) fn linger() {
    sys::sleep_ms(LEFT_BEHIND_MS);
}

pub(crate) extern "C" fn linger_and_exit() -> ! {
    linger();
    // Ends this thread, or the process if it has only one.
    loop {
        let _never: Result<usize> = sys::call(nr::EXIT, [0]);
    }
}

/// Ignores and blocks every signal that allows it.
pub(crate) fn ignore_all_signals() {
    // `SIG_IGN`, no flags, no restorer, no mask.
    let ignore = [1usize, 0, 0, 0];
    for signal in 1..=64usize {
        // SIGKILL (9) and SIGSTOP (19) cannot be ignored.
        let _set: Result<usize> = sys::call(nr::RT_SIGACTION, [signal, sys::ptr(&ignore), 0, 8]);
    }
    let all = u64::MAX;
    let _set: Result<usize> = sys::call(nr::RT_SIGPROCMASK, [0, sys::ptr(&all), 0, 8]);
}
