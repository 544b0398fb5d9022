//! System calls and thread starts for Linux on x86-64.

use core::arch::asm;

/// Makes a system call.
///
/// # Safety
/// Pointers among the arguments are valid for what the call does.
pub(crate) unsafe fn syscall(number: u32, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers follow the system call ABI, and the kernel preserves all but rax, rcx
    // and r11. The caller guarantees that the call's memory accesses are valid.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b,
            in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// Makes a system call through the entry of 32-bit programs. Only calls without pointers are
/// useful, because arguments are cut to 32 bits.
pub(crate) fn syscall_32(number: u32) -> i32 {
    let result: i32;
    // SAFETY: eax holds the number and the result. rbx, the first argument, is restored. This entry
    // does not preserve r8 to r11.
    unsafe {
        asm!("push rbx", "xor ebx, ebx", "int 0x80", "pop rbx", inlateout("eax") number => result,
            in("ecx") 0, in("edx") 0, lateout("r8") _, lateout("r9") _, lateout("r10") _,
            lateout("r11") _);
    }
    result
}

/// Starts a thread that runs `entry` on the stack that ends at `stack_top`.
///
/// # Safety
/// `stack_top` is the 16-byte aligned end of an unused stack. `flags` contain `CLONE_VM`.
pub(crate) unsafe fn clone_thread(
    flags: usize,
    stack_top: usize,
    entry: extern "C" fn() -> !,
) -> isize {
    let result: isize;
    // SAFETY: in the parent this is an ordinary system call. The child continues with rax = 0 on
    // its own stack and calls `entry`, which never returns.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "call r12", "ud2", "2:",
            inlateout("rax") super::nr::CLONE as isize => result, in("rdi") flags,
            in("rsi") stack_top, in("rdx") 0, in("r10") 0, in("r8") 0, in("r12") entry,
            lateout("rcx") _, lateout("r11") _);
    }
    result
}
