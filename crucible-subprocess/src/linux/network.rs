//! Network namespaces with nothing in them, kept for the next sandbox.
//!
//! Making one takes as long as all other namespaces together, and the kernel makes about a thousand a second on the whole
//! machine. Nothing of a sandbox stays in one: its interfaces are down and cannot be set up without a capability in the
//! host's user namespace, and sockets end with their processes. One sandbox at a time uses a namespace, so that abstract
//! sockets are no channel between two.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// The most namespaces that are kept.
const KEPT_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Networks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    free: Vec<OwnedFd>,
    /// How many there are, those included that are in use.
    count: usize,
}

impl Networks {
    /// A namespace that nobody uses, if there is one.
    pub(super) fn take(&self) -> Option<OwnedFd> {
        self.lock().free.pop()
    }

    /// Takes back what was taken, and keeps it unless there are more than wanted.
    pub(super) fn put_back(&self, namespace: OwnedFd, wanted: usize) {
        let mut kept = self.lock();
        if kept.count <= wanted.min(KEPT_MAX) {
            kept.free.push(namespace);
        } else {
            kept.count -= 1;
        }
    }

    /// Adds one that is new.
    pub(super) fn add(&self, namespace: OwnedFd) {
        let mut kept = self.lock();
        kept.free.push(namespace);
        kept.count += 1;
    }

    /// Keeps no more than this many that nobody uses.
    pub(super) fn shrink(&self, wanted: usize) {
        let mut kept = self.lock();
        let too_many = kept.free.len().saturating_sub(wanted);
        kept.free.truncate(wanted);
        kept.count -= too_many;
    }

    /// Whether one more is to be made, for so many sandboxes at once. Those that had to do with one of their own do not bring it here.
    pub(super) fn lacks(&self, wanted: usize) -> bool {
        self.lock().count < wanted.min(KEPT_MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
