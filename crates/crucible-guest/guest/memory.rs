//! Memory without an allocator: a few static buffers, each handed out once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static value that is handed out once. In this order: whoever takes it uses its beginning first, which is in
/// the same page of memory then.
#[repr(C)]
pub(crate) struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reachable only through `take`, which gives it to one caller; whoever has it owns it.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, the first time; `None` from then on.
    #[expect(clippy::mut_from_ref, reason = "each value gives one reference, ever")]
    pub(crate) fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the swap gives `false` to one caller only, so this is the only reference there ever is.
        Some(unsafe { &mut *self.value.get() })
    }
}

impl<T> Once<T> {
    /// Whoever comes next may take it once more.
    ///
    /// # Safety
    /// Whoever took it has ended, and its stack with it: nobody has the reference any more.
    pub(crate) unsafe fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_handed_out_once() {
        static VALUE: Once<u32> = Once::new(7);
        assert_eq!(VALUE.take(), Some(&mut 7));
        assert_eq!(VALUE.take(), None);
        // SAFETY: the reference was a temporary.
        unsafe { VALUE.give_back() };
        assert_eq!((VALUE.take(), VALUE.take()), (Some(&mut 7), None));
    }
}
