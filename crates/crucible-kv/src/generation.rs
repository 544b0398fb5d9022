//! A counter that detects moved entries.

use crate::Backend;

/// A point in a store's history. Take it before a read and pass it to
/// [`Transaction::is_unchanged`](crate::Transaction::is_unchanged), which then mostly needs no
/// second read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(Option<u64>);

impl Generation {
    /// Returns the current generation of a backend.
    pub(crate) fn of(backend: &dyn Backend) -> Self {
        Self(backend.generation())
    }

    /// Returns `true` if [`Backend::get_cached`] still finds every commit made since this
    /// generation.
    pub(crate) fn is_current(self, backend: &dyn Backend) -> bool {
        self.0.is_some() && Self::of(backend) == self
    }
}
