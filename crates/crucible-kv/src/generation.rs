//! When something was read.

use crate::Backend;

/// A moment in a store's life. Take it before something is read, so that
/// [`Transaction::is_still`](crate::Transaction::is_still) can tell whether that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(Option<u64>);

impl Generation {
    pub(crate) fn of(backend: &dyn Backend) -> Self {
        Self(backend.settled())
    }

    /// Whether what has changed since is still where it can be told at once.
    pub(crate) fn is_still(self, backend: &dyn Backend) -> bool {
        self.0.is_some() && Self::of(backend) == self
    }
}
