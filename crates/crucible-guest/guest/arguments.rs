//! The program's arguments.

use core::ffi::{CStr, c_char};

use super::decimal::parse;

/// The arguments where the kernel put them, on the stack.
pub(crate) struct Arguments {
    count: usize,
    pointers: *const *const c_char,
}

impl Arguments {
    /// Creates the view of `count` arguments at `pointers`, which are valid until the program ends.
    pub(crate) fn new(count: usize, pointers: *const *const c_char) -> Self {
        Self { count, pointers }
    }

    /// Returns the argument at `index`. Index 0 is the program's name.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        // SAFETY: there are `count` pointers, and `index` is less.
        let slot = unsafe { self.pointers.add(index) };
        // SAFETY: the kernel wrote a pointer there.
        let pointer = unsafe { slot.read() };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the kernel terminates every argument with a NUL and leaves it in place.
        Some(unsafe { CStr::from_ptr(pointer) }.to_bytes())
    }

    /// Overwrites the environment, which the guest does not use. Some kernels show it to other
    /// processes (`/proc/1/environ`).
    pub(crate) fn clear_environment(&self) {
        let mut index = self.count + 1;
        loop {
            // SAFETY: the pointers to the environment follow the arguments and their null pointer.
            // A null pointer ends them and this loop (the x86-64 psABI, 3.4.1).
            let slot = unsafe { self.pointers.add(index) };
            // SAFETY: the kernel wrote a pointer there.
            let pointer = unsafe { slot.read() };
            if pointer.is_null() {
                return;
            }
            // SAFETY: the kernel terminates every variable with a NUL and leaves it in place.
            let length = unsafe { CStr::from_ptr(pointer) }.to_bytes().len();
            // SAFETY: these bytes are on this process's own stack, which is writable, and no other
            // reference to them exists.
            unsafe { pointer.cast_mut().write_bytes(0, length) };
            index += 1;
        }
    }

    /// Returns the number that follows the argument `name`.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u64> {
        let at = self.position(name)?;
        parse(self.get(at + 1)?)
    }

    /// Returns `true` if the argument `name` is present.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        (1..self.count).find(|index| self.get(*index) == Some(name))
    }
}
