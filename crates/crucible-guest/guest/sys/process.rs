//! Processes, poll(2) and time.

use super::errno::{Errno, Result};
use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check, signed};

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGCHLD: i32 = 17;

pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLOUT: i16 = 4;
pub(crate) const POLLERR: i16 = 8;
pub(crate) const POLLHUP: i16 = 16;

/// The resource usage of a process (getrusage(2), wait4(2)).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rusage {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) maxrss_kib: u64,
}

/// `struct rusage` on x86-64: 18 numbers of eight bytes; two times as seconds and
/// microseconds, then `ru_maxrss`.
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
        // SAFETY: the call accesses no memory and does not return.
        unsafe { syscall(nr::EXIT_GROUP, [signed(status), 0, 0, 0, 0, 0]) };
    }
}

/// pidfd_open(2) of this process.
pub(crate) fn own_pidfd() -> Result<Fd> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::PIDFD_OPEN, [signed(pid()), 0, 0, 0, 0, 0]) }).and_then(to_fd)
}

/// execve(2). Returns only on an error.
///
/// # Safety
///
/// `program` is a C string; `argv` and `env` are arrays of pointers to C strings, each with a
/// null pointer at the end.
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

/// wait4(2) for any child. With `WNOHANG`, returns `None` if none has ended.
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

/// wait4(2): reaps a child that has ended, if there is one.
pub(crate) fn reap_now() -> Result<Option<Reaped>> {
    const WNOHANG: usize = 1;
    wait(WNOHANG)
}

/// wait4(2): sleeps until a child ends.
pub(crate) fn reap_next() -> Result<Reaped> {
    wait(0)?.ok_or(Errno::CHILD)
}

/// getrusage(2) of the reaped children.
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
    // SAFETY: the call accesses no memory, and cannot fail.
    i32::try_from(unsafe { syscall(nr::GETPID, [0; 6]) }).unwrap_or(-1)
}

/// kill(2)
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::KILL, [signed(pid), signed(signal), 0, 0, 0, 0]) }).map(drop)
}

/// pidfd_send_signal(2)
pub(crate) fn kill_by_pidfd(pidfd: Fd, signal: i32) -> Result<()> {
    let arguments = [signed(pidfd.0), signed(signal), 0, 0, 0, 0];
    // SAFETY: without a `siginfo_t` no memory is involved.
    check(unsafe { syscall(nr::PIDFD_SEND_SIGNAL, arguments) }).map(drop)
}

/// poll(2). A `timeout_ms` of -1 means no limit.
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

/// sched_yield(2): lets other processes on this processor run first.
pub(crate) fn yield_now() {
    // SAFETY: the call accesses no memory, and cannot fail.
    let _done = unsafe { syscall(nr::SCHED_YIELD, [0; 6]) };
}
