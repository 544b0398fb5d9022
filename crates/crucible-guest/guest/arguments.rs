//! The program's arguments.

use core::ffi::{CStr, c_char};

use super::number::parse;

/// The arguments as the kernel left them on the stack.
pub(crate) struct Arguments {
    count: usize,
    pointers: *const *const c_char,
}

impl Arguments {
    /// The arguments at `pointers`, which the kernel keeps for the whole life of the program.
    pub(crate) fn new(count: usize, pointers: *const *const c_char) -> Self {
        Self { count, pointers }
    }

    /// The argument at `index`; 0 is the program's name.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        // SAFETY: there are `count` pointers, and `index` is less.
        let place = unsafe { self.pointers.add(index) };
        // SAFETY: the kernel has put a pointer there.
        let pointer = unsafe { place.read() };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the kernel terminates every argument with a NUL and leaves it in place.
        Some(unsafe { CStr::from_ptr(pointer) }.to_bytes())
    }

    /// Overwrites the environment, which nobody here reads, and which some kernels show to others (`/proc/1/environ`).
    pub(crate) fn forget_environment(&self) {
        let mut index = self.count + 1;
        loop {
            // SAFETY: behind the arguments and their null pointer are the pointers to the environment, up to another null pointer, which
            // ends this loop (the x86-64 psABI, 3.4.1).
            let place = unsafe { self.pointers.add(index) };
            // SAFETY: the kernel has put a pointer there.
            let pointer = unsafe { place.read() };
            if pointer.is_null() {
                return;
            }
            // SAFETY: the kernel terminates every variable with a NUL and leaves it in place.
            let length = unsafe { CStr::from_ptr(pointer) }.to_bytes().len();
            // SAFETY: these bytes are this process's own, on its stack, where it may write; nobody else has a reference to them.
            unsafe { pointer.cast_mut().write_bytes(0, length) };
            index += 1;
        }
    }

    /// The number that follows the argument `name`.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u64> {
        let at = self.position(name)?;
        parse(self.get(at + 1)?)
    }

    /// Whether the argument `name` is there.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        (1..self.count).find(|index| self.get(*index) == Some(name))
    }
}
