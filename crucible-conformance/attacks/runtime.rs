//! What a program without libc and standard library needs to stand: an entry point, a panic handler, and the memory
//! functions that the compiler calls.

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use crate::sys;

/// The exit status of a bug.
const BUG: usize = 101;
/// The most arguments that are looked at.
const ARGUMENTS_MAX: usize = 16;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sys::exit(BUG)
}

/// Where the kernel starts the program: the stack pointer points at the number of arguments (the x86-64 psABI, 3.4.1).
///
/// # Safety
/// Only the kernel calls this, once.
// SAFETY: the symbol is this program's only entry point; nothing else defines it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main)
}

extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts the number of arguments at the initial stack pointer.
    let count = unsafe { stack.read() };
    // SAFETY: the pointers to the arguments follow it, a null pointer, then those to the environment.
    let pointers = unsafe { stack.add(1) }.cast::<*const c_char>();
    let mut arguments = [c""; ARGUMENTS_MAX];
    let mut used = 0;
    // The first is the program's own name.
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

/// The compiler's own code refers to it even where nothing unwinds.
// SAFETY: it is never called; the symbol is not defined elsewhere in this program.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// memcpy(3).
///
/// # Safety
/// As memcpy(3) has it: both ranges are valid and do not overlap.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller gives two valid ranges of `count` bytes; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// memmove(3), byte by byte.
///
/// # Safety
/// As memmove(3) has it: both ranges are valid.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
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

/// memset(3).
///
/// # Safety
/// As memset(3) has it: the range is valid.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller gives a valid range of `count` bytes; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte.to_le_bytes()[0],
            options(nostack, preserves_flags));
    }
    to
}

/// memcmp(3).
///
/// # Safety
/// As memcmp(3) has it: both ranges are valid.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // Volatile, so that the compiler does not make a call to memcmp of this very loop.
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

/// bcmp(3): memcmp(3) without an order.
///
/// # Safety
/// As memcmp(3) has it: both ranges are valid.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's ranges are valid.
    unsafe { memcmp(a, b, count) }
}

/// strlen(3)
///
/// # Safety
/// As strlen(3) has it: there is a NUL.
// SAFETY: nothing else in this program defines the symbol, and it does what its name says.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // Volatile, so that the compiler does not make a call to strlen of this very loop.
    // SAFETY: no byte before this one was the NUL, so that this one is within the caller's string.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
