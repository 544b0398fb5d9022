//! The runtime of a program without libc and standard library: an entry point, a panic handler, and
//! the memory functions that the compiler calls.

use core::arch::{asm, naked_asm};
use core::panic::PanicInfo;

use crate::agent;

/// The exit status of a guest that panicked.
const BUG: i32 = 101;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    agent::sys::exit(BUG)
}

/// The entry point of the program. The stack pointer points at the number of arguments (the x86-64
/// psABI, 3.4.1).
///
/// # Safety
///
/// Only the kernel calls this, once.
// SAFETY: the symbol is this program's only entry point, and no other code defines it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {main}",
        "ud2",
        main = sym main
    )
}

extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts the number of arguments at the initial stack pointer.
    let count = unsafe { stack.read() };
    // SAFETY: the pointers to the arguments follow. There is at least one (0 if there is no
    // argument).
    let arguments = unsafe { stack.add(1) }.cast::<*const core::ffi::c_char>();
    agent::main(agent::Arguments::new(count, arguments))
}

/// A symbol to which the compiler's own code refers, even without unwinding.
// SAFETY: it is never called, and no other code defines the symbol.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Copies `count` bytes (memcpy(3)).
///
/// # Safety
///
/// As for memcpy(3): both ranges are valid and do not overlap.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller passes two valid ranges of `count` bytes. The ABI guarantees that the
    // direction flag is clear.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Copies `count` bytes between ranges that may overlap (memmove(3)).
///
/// # Safety
///
/// As for memmove(3): both ranges are valid.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: the caller's ranges are valid, and `to` does not start within `from`, so that
        // copying forwards is correct.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: the caller passes two valid ranges of `count` bytes, here at least one. The direction
    // flag is set only within the block, and makes the copy go from the last byte to the first.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// Fills `count` bytes (memset(3)).
///
/// # Safety
///
/// As for memset(3): the range is valid.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller passes a valid range of `count` bytes. The ABI guarantees that the
    // direction flag is clear.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _,
            in("al") byte.to_le_bytes()[0], options(nostack, preserves_flags));
    }
    to
}

/// Compares `count` bytes (memcmp(3)).
///
/// # Safety
///
/// As for memcmp(3): both ranges are valid.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    let mut index = 0;
    while index < count {
        // Volatile, so that the compiler does not replace this loop by a call to memcmp.
        // SAFETY: `index` is within the caller's first range.
        let left = unsafe { a.add(index).read_volatile() };
        // SAFETY: `index` is within the caller's second range.
        let right = unsafe { b.add(index).read_volatile() };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        index += 1;
    }
    0
}

/// bcmp(3): memcmp(3) without an order.
///
/// # Safety
///
/// As for memcmp(3): both ranges are valid.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's ranges are valid.
    unsafe { memcmp(a, b, count) }
}

/// strlen(3)
///
/// # Safety
///
/// As for strlen(3): there is a NUL.
// SAFETY: no other code defines the symbol, and the function behaves as its name requires.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // Volatile, so that the compiler does not replace this loop by a call to strlen.
    // SAFETY: no earlier byte was the NUL, so that this byte is within the caller's string.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
