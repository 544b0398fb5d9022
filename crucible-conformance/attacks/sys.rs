//! System calls as functions.
//!
//! Every caller in this program guarantees one thing: a pointer argument points to memory of the
//! program that lives as long as the call.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::{arch, nr};

/// An error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SysError(pub(crate) i32);

pub(crate) type Result<T> = core::result::Result<T, SysError>;

pub(crate) const STDOUT: usize = 1;
pub(crate) const STDERR: usize = 2;

pub(crate) const O_WRONLY: usize = 1;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_CREAT: usize = 0o100;
pub(crate) const O_EXCL: usize = 0o200;
pub(crate) const O_DIRECTORY: usize = 0o200_000;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;
pub(crate) const O_PATH: usize = 0o10_000_000;
pub(crate) const AT_FDCWD: usize = usize::MAX - 99;

pub(crate) const SIGABRT: usize = 6;
pub(crate) const SIGKILL: usize = 9;
pub(crate) const SIGTERM: usize = 15;
pub(crate) const SIGCHLD: usize = 17;
pub(crate) const SIGSTOP: usize = 19;

/// Makes a system call with up to six arguments.
pub(crate) fn call<const N: usize>(number: u32, arguments: [usize; N]) -> Result<usize> {
    const { assert!(N <= 6, "a system call has at most six arguments") };
    let mut all = [0; 6];
    for (slot, argument) in all.iter_mut().zip(arguments) {
        *slot = argument;
    }
    // SAFETY: callers pass pointers that are valid for the call (see the module documentation).
    let result = unsafe { arch::syscall(number, all) };
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) if result >= -4095 => Err(SysError(i32::try_from(-result).unwrap_or(i32::MAX))),
        // An address in the upper half of the address space.
        Err(_) => Ok(result.cast_unsigned()),
    }
}

/// Returns the address of a path as an argument.
pub(crate) fn cstr_ptr(path: &CStr) -> usize {
    path.as_ptr().addr()
}

/// Returns the address of a value that the call reads.
pub(crate) fn ptr<T>(value: &T) -> usize {
    core::ptr::from_ref(value).expose_provenance()
}

/// Returns the address of a value that the call writes.
pub(crate) fn mut_ptr<T>(value: &mut T) -> usize {
    core::ptr::from_mut(value).expose_provenance()
}

pub(crate) fn exit(code: usize) -> ! {
    loop {
        let _never: Result<usize> = call(nr::EXIT_GROUP, [code]);
    }
}

pub(crate) fn open(path: &CStr, flags: usize) -> Result<usize> {
    call(nr::OPEN, [path.as_ptr().expose_provenance(), flags | O_CLOEXEC, 0o666])
}

pub(crate) fn close(fd: usize) {
    let _closed: Result<usize> = call(nr::CLOSE, [fd]);
}

pub(crate) fn read(fd: usize, bytes: &mut [u8]) -> Result<usize> {
    call(nr::READ, [fd, bytes.as_mut_ptr().expose_provenance(), bytes.len()])
}

pub(crate) fn write(fd: usize, bytes: &[u8]) -> Result<usize> {
    call(nr::WRITE, [fd, bytes.as_ptr().expose_provenance(), bytes.len()])
}

pub(crate) fn mkdir(path: &CStr) -> Result<usize> {
    call(nr::MKDIR, [path.as_ptr().expose_provenance(), 0o777])
}

pub(crate) fn symlink(target: &CStr, path: &CStr) -> Result<usize> {
    call(nr::SYMLINK, [target.as_ptr().expose_provenance(), path.as_ptr().expose_provenance()])
}

pub(crate) fn unlink(path: &CStr) -> Result<usize> {
    call(nr::UNLINK, [path.as_ptr().expose_provenance()])
}

pub(crate) fn chdir(path: &CStr) -> Result<usize> {
    call(nr::CHDIR, [path.as_ptr().expose_provenance()])
}

pub(crate) fn pipe() -> Result<(usize, usize)> {
    let mut ends = [0i32; 2];
    call(nr::PIPE, [mut_ptr(&mut ends)])?;
    let [read, write] = ends.map(|end| usize::try_from(end).unwrap_or(usize::MAX));
    Ok((read, write))
}

pub(crate) fn getpid() -> i32 {
    call(nr::GETPID, []).map_or(0, |pid| i32::try_from(pid).unwrap_or_default())
}

pub(crate) fn getppid() -> i32 {
    call(nr::GETPPID, []).map_or(0, |pid| i32::try_from(pid).unwrap_or_default())
}

pub(crate) fn kill(pid: i32, signal: usize) -> Result<usize> {
    call(nr::KILL, [signed(pid), signal])
}

/// Returns a signed number as an argument.
pub(crate) fn signed(number: i32) -> usize {
    isize::try_from(number).unwrap_or_default().cast_unsigned()
}

/// Waits for this child, or for any child if `pid` is -1.
pub(crate) fn wait(pid: i32, options: usize) -> Result<(usize, u32)> {
    let mut status = 0u32;
    let pid = call(nr::WAIT4, [signed(pid), mut_ptr(&mut status), options, 0])?;
    Ok((pid, status))
}

/// Maps new, untouched memory.
pub(crate) fn map(size: usize, flags: usize, fd: usize) -> Result<usize> {
    call(nr::MMAP, [0, size, PROT_READ | PROT_WRITE, flags, fd, 0])
}

const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
pub(crate) const MAP_SHARED: usize = 1;
pub(crate) const MAP_PRIVATE: usize = 2;
pub(crate) const MAP_ANONYMOUS: usize = 0x20;
pub(crate) const NO_FD: usize = usize::MAX;

/// Writes a byte into each page of memory from [`map`].
pub(crate) fn touch(start: usize, size: usize) {
    for page in (start..start + size).step_by(4096) {
        // SAFETY: the page is mapped, writable, and used by this function only.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(page).write_volatile(1) };
    }
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Sleeps, and continues after each signal.
pub(crate) fn sleep_ms(milliseconds: u64) {
    let until = now_ms(CLOCK_MONOTONIC) + milliseconds;
    loop {
        let left = until.saturating_sub(now_ms(CLOCK_MONOTONIC));
        if left == 0 {
            return;
        }
        let time = Timespec {
            seconds: i64::try_from(left / 1000).unwrap_or(i64::MAX),
            nanoseconds: i64::try_from(left % 1000).unwrap_or_default() * 1_000_000,
        };
        let _interrupted: Result<usize> = call(nr::NANOSLEEP, [ptr(&time), 0]);
    }
}

pub(crate) const CLOCK_MONOTONIC: usize = 1;
pub(crate) const CLOCK_PROCESS_CPUTIME_ID: usize = 2;
pub(crate) const CLOCK_THREAD_CPUTIME_ID: usize = 3;

/// Returns the time of a clock in milliseconds.
pub(crate) fn now_ms(clock: usize) -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    let _always: Result<usize> = call(nr::CLOCK_GETTIME, [clock, mut_ptr(&mut time)]);
    time.seconds.unsigned_abs() * 1000 + time.nanoseconds.unsigned_abs() / 1_000_000
}

/// Replaces the process by a program. Returns only on an error.
pub(crate) fn execute(path: &CStr, arguments: &[*const c_char]) -> SysError {
    let nothing: [*const c_char; 1] = [core::ptr::null()];
    let result = call(
        nr::EXECVE,
        [path.as_ptr().expose_provenance(), arguments.as_ptr().expose_provenance(), ptr(&nothing)],
    );
    result.err().unwrap_or(SysError(0))
}

static ENVIRONMENT: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Stores the environment of the initial stack.
pub(crate) fn set_environment(environment: *const *const c_char) {
    ENVIRONMENT.store(environment.cast_mut(), Ordering::Relaxed);
}

/// Returns the variables of the environment.
pub(crate) fn environment() -> impl Iterator<Item = &'static CStr> {
    let mut next = ENVIRONMENT.load(Ordering::Relaxed).cast_const();
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: the kernel's list ends with a null pointer, and `next` is not beyond it.
        let variable = unsafe { next.read() };
        if variable.is_null() {
            return None;
        }
        // SAFETY: this pointer is not the final null pointer, so that another one follows.
        next = unsafe { next.add(1) };
        // SAFETY: the kernel's strings end with NUL and live as long as the program.
        Some(unsafe { CStr::from_ptr(variable) })
    })
}
