//! The runtime of a program without libc and the standard library: an entry point, a panic handler,
//! and the memory functions that the compiler calls.

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use crate::sys;

/// The exit status of a bug.
const BUG: usize = 101;
/// The maximum number of arguments that are read.
const ARGUMENTS_MAX: usize = 16;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sys::exit(BUG)
}

/// Receives control from the kernel. The stack pointer points to the number of arguments (x86-64
/// psABI, 3.4.1).
///
/// # Safety
/// Only the kernel calls this, once.
// SAFETY: the symbol is this program's only entry point; nothing else defines it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main
    )
}

extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts the number of arguments at the initial stack pointer.
    let count = unsafe { stack.read() };
    // SAFETY: the argument pointers follow, then a null pointer, then the environment pointers.
    let pointers = unsafe { stack.add(1) }.cast::<*const c_char>();
    let mut arguments = [c""; ARGUMENTS_MAX];
    let mut used = 0;
    // The first argument is the name of the program.
    for index in 1..count.min(ARGUMENTS_MAX + 1) {
        // SAFETY: there are `count` pointers.
        let pointer = unsafe { pointers.add(index).read() };
        if let Some(slot) = arguments.get_mut(used) {
            // SAFETY: the kernel's argument strings end with NUL and live as long as the program.
            *slot = unsafe { CStr::from_ptr(pointer) };
            used += 1;
        }
    }
    // SAFETY: the environment follows the null pointer that ends the arguments.
    let environment = unsafe { pointers.add(count + 1) };
    sys::set_environment(environment);
    crate::main(arguments.get(..used).unwrap_or_default())
}

/// Satisfies references from `core`, even in a program that does not unwind.
// SAFETY: the function is never called, and no other definition of the symbol exists.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Implements memcpy(3).
///
/// # Safety
/// As for memcpy(3): both ranges are valid and do not overlap.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller passes two valid ranges of `count` bytes. The ABI keeps the direction flag
    // clear.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Implements memmove(3), byte by byte.
///
/// # Safety
/// As for memmove(3): both ranges are valid.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    let forwards = (to as usize).wrapping_sub(from as usize) >= count;
    for step in 0..count {
        let index = if forwards { step } else { count - 1 - step };
        // SAFETY: `index` is within the caller's range.
        let byte = unsafe { from.add(index).read_volatile() };
        // SAFETY: `index` is within the caller's range.
        unsafe { to.add(index).write_volatile(byte) };
    }
    to
}

/// Implements memset(3).
///
/// # Safety
/// As for memset(3): the range is valid.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller passes a valid range of `count` bytes. The ABI keeps the direction flag
    // clear.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _,
            in("al") byte.to_le_bytes()[0], options(nostack, preserves_flags));
    }
    to
}

/// Implements memcmp(3).
///
/// # Safety
/// As for memcmp(3): both ranges are valid.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // Volatile, so that the compiler does not replace this loop by a call to memcmp.
        // SAFETY: `index` is within the caller's first range.
        let left = unsafe { a.add(index).read_volatile() };
        // SAFETY: `index` is within the caller's second range.
        let right = unsafe { b.add(index).read_volatile() };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// Implements bcmp(3) by memcmp(3).
///
/// # Safety
/// As for memcmp(3): both ranges are valid.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's ranges are valid.
    unsafe { memcmp(a, b, count) }
}

/// Implements strlen(3).
///
/// # Safety
/// As for strlen(3): the text ends with NUL.
// SAFETY: no other definition of the symbol exists, and the function implements its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // Volatile, so that the compiler does not replace this loop by a call to strlen.
    // SAFETY: no earlier byte was NUL, so that this byte is within the caller's string.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
