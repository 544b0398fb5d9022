//! Memory without an allocator: a few static buffers, each handed out once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static value that is handed out once. The flag comes first: a caller that takes the value uses
/// its beginning first, which is in the same page of memory.
#[repr(C)]
pub(crate) struct StaticCell<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reachable only through `take`, which returns it to one caller, its owner.
unsafe impl<T: Send> Sync for StaticCell<T> {}

impl<T> StaticCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Returns the value at the first call and `None` from then on.
    #[expect(clippy::mut_from_ref, reason = "each value has at most one reference")]
    pub(crate) fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the swap returns `false` to one caller only, so this is the only reference.
        Some(unsafe { &mut *self.value.get() })
    }

    /// Lets the next caller take the value again.
    ///
    /// # Safety
    ///
    /// The process that took the value has ended, and its stack with it: no reference remains.
    pub(crate) unsafe fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_handed_out_once() {
        static VALUE: StaticCell<u32> = StaticCell::new(7);
        assert_eq!(VALUE.take(), Some(&mut 7));
        assert_eq!(VALUE.take(), None);
        // SAFETY: the reference was a temporary.
        unsafe { VALUE.give_back() };
        assert_eq!((VALUE.take(), VALUE.take()), (Some(&mut 7), None));
    }
}
