//! The yardstick: a process that is spawned with minimal work, read to end-of-file, and reaped.

#![expect(
    unsafe_code,
    reason = "posix_spawn(3) and wait4(2) have no safe wrapper without extra work"
)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::ptr;

use rustix::pipe::PipeFlags;

/// A program that is started repeatedly.
pub(crate) struct Bare {
    program: CString,
    arguments: Vec<CString>,
    code: i32,
}

impl Bare {
    /// Creates a command that must exit with `code`.
    pub(crate) fn new(command: &[&str], code: i32) -> Self {
        let arguments: Vec<CString> =
            command.iter().map(|part| CString::new(*part).expect("no NUL")).collect();
        Self { program: arguments.first().expect("a program").clone(), arguments, code }
    }

    /// Runs the program once with posix_spawn(3), which glibc implements with
    /// `CLONE_VM | CLONE_VFORK` and execve(2).
    pub(crate) fn run(&self) -> Vec<u8> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut argv: Vec<_> = self.arguments.iter().map(|part| part.as_ptr().cast_mut()).collect();
        argv.push(ptr::null_mut());
        let pid = spawn(&self.program, &argv, write.as_raw_fd());
        drop(write);
        let mut output = Vec::new();
        File::from(read).read_to_end(&mut output).expect("the output is readable");
        assert_eq!(wait(pid), self.code << 8, "unexpected wait status");
        output
    }
}

fn spawn(program: &CStr, argv: &[*mut libc::c_char], stdout: i32) -> libc::pid_t {
    let mut actions = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to writable memory, which the call initializes.
    assert_eq!(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) }, 0);
    // SAFETY: the call above initialized the actions.
    let mut actions = unsafe { actions.assume_init() };
    // SAFETY: the actions are initialized.
    assert_eq!(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions, stdout, 1) }, 0);
    let (mut pid, environment) = (0, [ptr::null_mut()]);
    // SAFETY: the path is a C string; both arrays are null-terminated and outlive the call.
    let spawned = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions,
            ptr::null(),
            argv.as_ptr(),
            environment.as_ptr(),
        )
    };
    // SAFETY: the actions are initialized and are not used afterwards.
    unsafe { libc::posix_spawn_file_actions_destroy(&raw mut actions) };
    assert_eq!(spawned, 0, "posix_spawn");
    pid
}

fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: both pointers are to writable memory; the usage is not read.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, pid, "wait4");
    status
}
