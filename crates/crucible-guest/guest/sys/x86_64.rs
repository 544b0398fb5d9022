//! The code that is specific to Linux on x86-64: how a system call is made (syscall(2)), its
//! numbers (`arch/x86/entry/syscalls/syscall_64.tbl`), and how a child starts on a stack of its
//! own.

use core::arch::asm;

/// Makes a system call.
///
/// # Safety
///
/// The arguments are those of the call with this number. Pointers are valid for the call's
/// accesses.
pub(crate) unsafe fn syscall(number: u32, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the system call ABI. The kernel preserves all except rax,
    // rcx and r11. The caller promises that the memory accesses are valid.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b,
            in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// Calls clone(2) so that the child runs `entry(argument)` on the stack that ends at `stack_top`.
///
/// # Safety
///
/// The flags contain `CLONE_VM | CLONE_VFORK` and none that needs a further argument. `stack_top`
/// is the 16-byte aligned end of an unused stack. `argument` is valid for `entry`, which accesses
/// nothing that the sleeping parent uses at the same time.
pub(crate) unsafe fn clone_vfork(
    flags: usize,
    stack_top: *mut u8,
    entry: extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> isize {
    let result: isize;
    // SAFETY: in the parent this is a system call like any other. The child continues with rax = 0
    // on its own stack, which is 16-byte aligned, and calls `entry`, which never returns.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r13", "call r12",
            "ud2", "2:", inlateout("rax") nr::CLONE as isize => result, in("rdi") flags,
            in("rsi") stack_top, in("rdx") 0, in("r10") 0, in("r8") 0, in("r12") entry,
            in("r13") argument, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// Calls clone3(2) so that the child runs `entry(argument)` on the stack in the call's arguments.
///
/// # Safety
///
/// As for [`clone_vfork`]. `arguments` is a `struct clone_args` of `size` bytes with a stack whose
/// end is 16-byte aligned, and its pointers are valid for the call.
pub(crate) unsafe fn clone3_vfork(
    arguments: *const u8,
    size: usize,
    key: usize,
    entry: extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> isize {
    let result: isize;
    // SAFETY: as in `clone_vfork`. The kernel ignores the register of the key in this call.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r13", "call r12",
            "ud2", "2:", inlateout("rax") nr::CLONE3 as isize => result, in("rdi") arguments,
            in("rsi") size, in("rdx") 0, in("r10") 0, in("r8") 0, in("r9") key, in("r12") entry,
            in("r13") argument, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// The numbers of the system calls that the guest makes.
pub(crate) mod nr {
    pub(crate) const READ: u32 = 0;
    pub(crate) const WRITE: u32 = 1;
    pub(crate) const OPEN: u32 = 2;
    pub(crate) const CLOSE: u32 = 3;
    pub(crate) const POLL: u32 = 7;
    pub(crate) const LSEEK: u32 = 8;
    pub(crate) const RT_SIGACTION: u32 = 13;
    pub(crate) const RT_SIGPROCMASK: u32 = 14;
    pub(crate) const IOCTL: u32 = 16;
    pub(crate) const PREAD64: u32 = 17;
    pub(crate) const SCHED_YIELD: u32 = 24;
    pub(crate) const GETPID: u32 = 39;
    pub(crate) const SOCKET: u32 = 41;
    pub(crate) const SENDMSG: u32 = 46;
    pub(crate) const RECVMSG: u32 = 47;
    pub(crate) const BIND: u32 = 49;
    pub(crate) const LISTEN: u32 = 50;
    pub(crate) const CLONE: u32 = 56;
    pub(crate) const EXECVE: u32 = 59;
    pub(crate) const WAIT4: u32 = 61;
    pub(crate) const KILL: u32 = 62;
    pub(crate) const FCNTL: u32 = 72;
    pub(crate) const CHDIR: u32 = 80;
    pub(crate) const MKDIR: u32 = 83;
    pub(crate) const SYMLINK: u32 = 88;
    pub(crate) const CHMOD: u32 = 90;
    pub(crate) const FCHMOD: u32 = 91;
    pub(crate) const FCHOWN: u32 = 93;
    pub(crate) const CHOWN: u32 = 92;
    pub(crate) const UMASK: u32 = 95;
    pub(crate) const GETRUSAGE: u32 = 98;
    pub(crate) const SETSID: u32 = 112;
    pub(crate) const SETGROUPS: u32 = 116;
    pub(crate) const SETRESUID: u32 = 117;
    pub(crate) const SETRESGID: u32 = 119;
    pub(crate) const CAPGET: u32 = 125;
    pub(crate) const CAPSET: u32 = 126;
    pub(crate) const MKNOD: u32 = 133;
    pub(crate) const FSTATFS: u32 = 138;
    pub(crate) const PIVOT_ROOT: u32 = 155;
    pub(crate) const PRCTL: u32 = 157;
    pub(crate) const SETRLIMIT: u32 = 160;
    pub(crate) const MOUNT: u32 = 165;
    pub(crate) const UMOUNT2: u32 = 166;
    pub(crate) const SETHOSTNAME: u32 = 170;
    pub(crate) const GETDENTS64: u32 = 217;
    pub(crate) const CLOCK_GETTIME: u32 = 228;
    pub(crate) const EXIT_GROUP: u32 = 231;
    pub(crate) const MKDIRAT: u32 = 258;
    pub(crate) const NEWFSTATAT: u32 = 262;
    pub(crate) const OPENAT: u32 = 257;
    pub(crate) const UNLINKAT: u32 = 263;
    pub(crate) const UNSHARE: u32 = 272;
    pub(crate) const SIGNALFD4: u32 = 289;
    pub(crate) const DUP3: u32 = 292;
    pub(crate) const PIPE2: u32 = 293;
    pub(crate) const SETNS: u32 = 308;
    pub(crate) const SECCOMP: u32 = 317;
    pub(crate) const GETRANDOM: u32 = 318;
    pub(crate) const PIDFD_SEND_SIGNAL: u32 = 424;
    pub(crate) const PIDFD_OPEN: u32 = 434;
    pub(crate) const CLONE3: u32 = 435;
    pub(crate) const CLOSE_RANGE: u32 = 436;
    pub(crate) const OPENAT2: u32 = 437;
    pub(crate) const MOUNT_SETATTR: u32 = 442;
    pub(crate) const LANDLOCK_CREATE_RULESET: u32 = 444;
    pub(crate) const LANDLOCK_ADD_RULE: u32 = 445;
    pub(crate) const LANDLOCK_RESTRICT_SELF: u32 = 446;
}
