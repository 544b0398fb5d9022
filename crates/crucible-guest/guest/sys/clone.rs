//! clone(2) and clone3(2).

use super::errno::{Errno, Result};
use super::machine::{clone_vfork, clone3_vfork, nr, syscall};
use super::{Fd, SIGCHLD, check, key, signed, wide};

pub(crate) const CLONE_VM: u64 = 0x100;
const CLONE_PARENT_SETTID: u64 = 0x0010_0000;
pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_VFORK: u64 = 0x4000;
pub(crate) const CLONE_NEWNS: u64 = 0x0002_0000;
pub(crate) const CLONE_NEWCGROUP: u64 = 0x0200_0000;
pub(crate) const CLONE_NEWUTS: u64 = 0x0400_0000;
pub(crate) const CLONE_NEWIPC: u64 = 0x0800_0000;
pub(crate) const CLONE_NEWUSER: u64 = 0x1000_0000;
pub(crate) const CLONE_NEWPID: u64 = 0x2000_0000;
pub(crate) const CLONE_NEWNET: u64 = 0x4000_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` (clone3(2)), version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The two sides of a fork.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forked {
    Child,
    Parent { pid: i32, pidfd: Fd },
}

/// clone3(2) as a fork: the child continues with a copy of everything.
pub(crate) fn fork_into(flags: u64, cgroup: Option<Fd>) -> Result<Forked> {
    let mut pidfd = -1_i32;
    let mut arguments = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        exit_signal: SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.0.unsigned_abs());
    }
    let size = size_of::<CloneArgs>();
    // SAFETY: without CLONE_VM the child has its own copy of all memory, including the stack, so
    // that both continue from here as after fork(2). There is one thread, so that no lock is held
    // by a thread that is missing in the child.
    match check(unsafe {
        syscall(nr::CLONE3, [&raw const arguments as usize, size, 0, 0, 0, key()])
    })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent {
            pid: i32::try_from(pid).map_err(|_| Errno::INVAL)?,
            pidfd: Fd(pidfd),
        }),
    }
}

/// A stack for a child that shares the caller's memory.
#[repr(C, align(16))]
pub(crate) struct VforkStack(pub(crate) [u8; 16 * 1024]);

/// clone(2) as vfork(2): the child runs `entry(argument)` on a stack of its own in the caller's
/// memory. The caller sleeps until the child executes a program or ends. (Not clone3(2), which the
/// filter refuses to callers without the key.)
pub(crate) fn vfork<T>(
    stack: &mut VforkStack,
    entry: extern "C" fn(*mut u8) -> !,
    argument: &mut T,
) -> Result<i32> {
    let flags = wide(CLONE_VM | CLONE_VFORK) | signed(SIGCHLD);
    let top = stack.0.as_mut_ptr_range().end;
    // SAFETY: the stack and the argument are exclusively borrowed until the call returns, which
    // happens only when the child has left this memory (CLONE_VFORK).
    let pid = check(unsafe { clone_vfork(flags, top, entry, (&raw mut *argument).cast()) })?;
    i32::try_from(pid).map_err(|_| Errno::INVAL)
}

/// clone3(2) as vfork(2), into new namespaces: the child runs `entry(argument)` on a stack of its
/// own in the caller's memory. The caller sleeps until the child ends. The kernel writes the
/// child's process id, in the caller's namespace, to the field of the argument that `pid` returns.
pub(crate) fn vfork_into<T>(
    flags: u64,
    cgroup: Option<Fd>,
    stack: &mut [u8],
    entry: extern "C" fn(*mut u8) -> !,
    argument: &mut T,
    pid: impl FnOnce(&mut T) -> *mut i32,
) -> Result<i32> {
    let mut arguments = CloneArgs {
        flags: flags | CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID,
        parent_tid: pid(argument) as u64,
        exit_signal: SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: stack.len() as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.0.unsigned_abs());
    }
    if !(arguments.stack + arguments.stack_size).is_multiple_of(16) {
        return Err(Errno::INVAL);
    }
    let (size, argument) = (size_of::<CloneArgs>(), (&raw mut *argument).cast());
    // SAFETY: the stack and the argument are exclusively borrowed until the call returns, which
    // happens only when the child has left this memory (CLONE_VFORK). The kernel writes the process
    // id before the child runs.
    let child = check(unsafe {
        clone3_vfork((&raw const arguments).cast(), size, key(), entry, argument)
    })?;
    i32::try_from(child).map_err(|_| Errno::INVAL)
}
