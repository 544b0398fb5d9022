//! Network namespaces with nothing in them, kept for the next sandbox.
//!
//! Making one takes as long as all other namespaces together, and the kernel makes about a thousand a second on the whole
//! machine. Nothing of a sandbox stays in one: its interfaces are down and cannot be set up without a capability in the
//! host's user namespace, and sockets end with their processes. One sandbox at a time uses a namespace, so that abstract
//! sockets are no channel between two.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// The most namespaces that are kept.
const KEPT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Networks(Mutex<Vec<OwnedFd>>);

impl Networks {
    /// A namespace that nobody uses, if there is one.
    pub(super) fn take(&self) -> Option<OwnedFd> {
        self.lock().pop()
    }

    /// Keeps a namespace, unless there are enough.
    pub(super) fn put(&self, namespace: OwnedFd) {
        let mut kept = self.lock();
        if kept.len() < KEPT_MAX {
            kept.push(namespace);
        }
    }

    /// Keeps no more than this.
    pub(super) fn shrink(&self, wanted: usize) {
        self.lock().truncate(wanted);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
