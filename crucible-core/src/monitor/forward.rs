//! The implementations for `Arc` and `Box`.
//!
//! Each method is forwarded by hand. The lint `missing_trait_methods` rejects a missing method,
//! which would silently use its default.

use std::sync::Arc;

use super::monitors::Monitor;
use crate::journal::Event;

macro_rules! forward {
    ($($pointer:ident)*) => { $(
        #[deny(clippy::missing_trait_methods)]
        impl<T: Monitor + ?Sized> Monitor for $pointer<T> {
            fn observe(&self, event: &Event) {
                (**self).observe(event);
            }
        }
    )* };
}

forward!(Arc Box);
