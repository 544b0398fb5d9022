//! Processes, signals, time.

use super::files::to_fd;
use super::machine::{clone_vfork, clone3_vfork, nr, syscall};
use super::{Fd, O_CLOEXEC, O_NONBLOCK, check, key, signed, wide};
use crate::agent::errno::{Errno, Result};

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGCHLD: i32 = 17;

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

pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLOUT: i16 = 4;
pub(crate) const POLLERR: i16 = 8;
pub(crate) const POLLHUP: i16 = 16;

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

/// Who one is after a fork.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forked {
    Child,
    Parent { pid: i32, pidfd: Fd },
}

/// What a process used (getrusage(2), wait4(2)).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rusage {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) maxrss_kib: u64,
}

/// `struct rusage` on x86-64: 18 numbers of eight bytes; two times as seconds and microseconds, then `ru_maxrss`.
type RawRusage = [u64; 18];

impl Rusage {
    fn from_raw(raw: &RawRusage) -> Self {
        let [user_s, user_us, system_s, system_us, maxrss_kib, ..] = *raw;
        Self {
            user_us: user_s.saturating_mul(1_000_000).saturating_add(user_us),
            system_us: system_s.saturating_mul(1_000_000).saturating_add(system_us),
            maxrss_kib,
        }
    }

    pub(crate) fn cpu_us(self) -> u64 {
        self.user_us.saturating_add(self.system_us)
    }
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) usage: Rusage,
}

/// `struct pollfd` (poll(2)).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollFd {
    pub(crate) fd: Fd,
    pub(crate) events: i16,
    pub(crate) found: i16,
}

/// exit_group(2)
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: no memory is involved; the call does not return.
        unsafe { syscall(nr::EXIT_GROUP, [signed(status), 0, 0, 0, 0, 0]) };
    }
}

/// clone3(2) as a fork: the child goes on with a copy of everything.
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
    // SAFETY: without CLONE_VM the child has its own copy of all memory, the stack included, so that both go on from
    // here as after fork(2). There is one thread, so that no lock is held by one that the child has not.
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

/// A stack for a child that shares our memory.
#[repr(C, align(16))]
pub(crate) struct Stack(pub(crate) [u8; 16 * 1024]);

/// clone(2) as vfork(2): the child runs `entry(argument)` on a stack of its own in our memory, and we sleep until it
/// executes a program or ends. (Not clone3(2), which the filter refuses to whoever has no key.)
pub(crate) fn vfork<T>(
    stack: &mut Stack,
    entry: extern "C" fn(*mut u8) -> !,
    argument: &mut T,
) -> Result<i32> {
    let flags = wide(CLONE_VM | CLONE_VFORK) | signed(SIGCHLD);
    let top = stack.0.as_mut_ptr_range().end;
    // SAFETY: the stack and the argument are exclusively borrowed until the call returns, and it returns only when the
    // child has left our memory (CLONE_VFORK).
    let pid = check(unsafe { clone_vfork(flags, top, entry, (&raw mut *argument).cast()) })?;
    i32::try_from(pid).map_err(|_| Errno::INVAL)
}

/// clone3(2) as vfork(2), into namespaces of its own: the child runs `entry(argument)` on a stack of its own in our memory, and we
/// sleep until it ends. Its process id, as we have it, is where `pid` says that it
/// is wanted, within the argument.
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
    // SAFETY: the stack and the argument are exclusively borrowed until the call returns, and it returns only when the child has
    // left our memory (CLONE_VFORK). The kernel writes the process id before the child runs.
    let child = check(unsafe {
        clone3_vfork((&raw const arguments).cast(), size, key(), entry, argument)
    })?;
    i32::try_from(child).map_err(|_| Errno::INVAL)
}

/// pidfd_open(2) of ourselves.
pub(crate) fn own_pidfd() -> Result<Fd> {
    // SAFETY: no memory is involved.
    check(unsafe { syscall(nr::PIDFD_OPEN, [signed(pid()), 0, 0, 0, 0, 0]) }).and_then(to_fd)
}

/// execve(2). Returns only to say why not.
///
/// # Safety
/// `program` is a C string; `argv` and `env` are arrays of pointers to C strings that end with a null pointer.
pub(crate) unsafe fn execute(
    program: *const u8,
    argv: *const *const u8,
    env: *const *const u8,
) -> Errno {
    // SAFETY: the caller's promise.
    let result =
        unsafe { syscall(nr::EXECVE, [program as usize, argv as usize, env as usize, 0, 0, 0]) };
    check(result).err().unwrap_or(Errno::INVAL)
}

/// wait4(2) for any child. `None` if none has ended, with `WNOHANG`.
fn wait(options: usize) -> Result<Option<Reaped>> {
    let mut status = 0_i32;
    let mut raw: RawRusage = [0; 18];
    let arguments =
        [signed(-1), &raw mut status as usize, options, raw.as_mut_ptr() as usize, 0, 0];
    // SAFETY: the kernel writes a number and a `struct rusage`.
    match check(unsafe { syscall(nr::WAIT4, arguments) })? {
        0 => Ok(None),
        pid => {
            let pid = i32::try_from(pid).map_err(|_| Errno::INVAL)?;
            Ok(Some(Reaped { pid, status, usage: Rusage::from_raw(&raw) }))
        }
    }
}

/// wait4(2): a child that has ended, if there is one.
pub(crate) fn reap_now() -> Result<Option<Reaped>> {
    const WNOHANG: usize = 1;
    wait(WNOHANG)
}

/// wait4(2): sleeps until a child ends.
pub(crate) fn reap_next() -> Result<Reaped> {
    wait(0)?.ok_or(Errno::CHILD)
}

/// getrusage(2) of the children that were waited for.
pub(crate) fn usage_of_children() -> Rusage {
    usage_of(-1)
}

/// getrusage(2) of this process.
pub(crate) fn usage_of_self() -> Rusage {
    usage_of(0)
}

fn usage_of(who: i32) -> Rusage {
    let mut raw: RawRusage = [0; 18];
    // SAFETY: the kernel writes a `struct rusage`. The call cannot fail with these arguments.
    let _filled =
        unsafe { syscall(nr::GETRUSAGE, [signed(who), raw.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    Rusage::from_raw(&raw)
}

/// getpid(2)
pub(crate) fn pid() -> i32 {
    // SAFETY: no memory is involved; the call cannot fail.
    i32::try_from(unsafe { syscall(nr::GETPID, [0; 6]) }).unwrap_or(-1)
}

/// kill(2)
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { syscall(nr::KILL, [signed(pid), signed(signal), 0, 0, 0, 0]) }).map(drop)
}

/// pidfd_send_signal(2)
pub(crate) fn kill_by_pidfd(pidfd: Fd, signal: i32) -> Result<()> {
    let arguments = [signed(pidfd.0), signed(signal), 0, 0, 0, 0];
    // SAFETY: without a `siginfo_t` no memory is involved.
    check(unsafe { syscall(nr::PIDFD_SEND_SIGNAL, arguments) }).map(drop)
}

/// rt_sigaction(2): the default action, or that of `SIG_IGN`.
fn set_action(signal: i32, handler: usize) -> Result<()> {
    // `struct sigaction` as the kernel has it: handler, flags, restorer, mask.
    let action = [handler, 0, 0, 0];
    // SAFETY: the kernel reads a `struct sigaction` with a mask of eight bytes; no handler of ours is installed.
    let result = unsafe {
        syscall(nr::RT_SIGACTION, [signed(signal), action.as_ptr() as usize, 0, 8, 0, 0])
    };
    check(result).map(drop)
}

/// Every signal does what it does by default, whatever whoever started us had set.
pub(crate) fn reset_signals() -> Result<()> {
    for signal in 1..=64 {
        // SIGKILL and SIGSTOP cannot be set; 32 and 33 are nobody's without a libc.
        match set_action(signal, 0) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    set_mask(0)
}

/// Children are not waited for: the kernel reaps them.
pub(crate) fn ignore_children() -> Result<()> {
    set_action(SIGCHLD, 1)
}

/// Children are waited for.
pub(crate) fn heed_children() -> Result<()> {
    set_action(SIGCHLD, 0)
}

/// rt_sigprocmask(2): exactly the signals of this set are blocked.
pub(crate) fn set_mask(set: u64) -> Result<()> {
    const SIG_SETMASK: usize = 2;
    let arguments = [SIG_SETMASK, &raw const set as usize, 0, 8, 0, 0];
    // SAFETY: the kernel reads a mask of eight bytes.
    check(unsafe { syscall(nr::RT_SIGPROCMASK, arguments) }).map(drop)
}

/// The set of just this signal.
pub(crate) const fn only(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// signalfd(2)
pub(crate) fn signal_fd(set: u64) -> Result<Fd> {
    let arguments = [signed(-1), &raw const set as usize, 8, signed(O_CLOEXEC | O_NONBLOCK), 0, 0];
    // SAFETY: the kernel reads a mask of eight bytes.
    check(unsafe { syscall(nr::SIGNALFD4, arguments) }).and_then(to_fd)
}

/// poll(2); `timeout_ms` of -1 is for ever.
pub(crate) fn poll(fds: &mut [PollFd], timeout_ms: i32) -> Result<usize> {
    let arguments = [fds.as_mut_ptr() as usize, fds.len(), signed(timeout_ms), 0, 0, 0];
    // SAFETY: the kernel reads and writes `len` structures, which are exclusively borrowed.
    check(unsafe { syscall(nr::POLL, arguments) })
}

/// clock_gettime(2) with `CLOCK_MONOTONIC`, in microseconds.
pub(crate) fn now_us() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_u64; 2];
    // SAFETY: the kernel writes two numbers. The call cannot fail with these arguments.
    let _filled = unsafe {
        syscall(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0, 0, 0, 0])
    };
    let [seconds, nanoseconds] = time;
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}

/// sched_yield(2): whoever else is to run on this processor goes first.
pub(crate) fn yield_now() {
    // SAFETY: no memory is involved; the call cannot fail.
    let _done = unsafe { syscall(nr::SCHED_YIELD, [0; 6]) };
}
