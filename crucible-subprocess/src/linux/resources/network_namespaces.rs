//! Empty network namespaces, kept for the next sandbox.
//!
//! Creating one takes as long as all other namespaces together, and the kernel creates about a
//! thousand per second on the whole machine. No state of a sandbox stays in a namespace: its
//! interfaces are down, enabling them takes a capability in the host's user namespace, and sockets
//! end with their processes. One sandbox at a time uses a namespace, so that abstract sockets do
//! not connect two sandboxes.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The maximum number of namespaces that are kept.
const KEPT_MAX: usize = 128;

/// A pool of network namespaces.
#[derive(Debug, Default)]
pub(super) struct NetworkNamespacePool(Mutex<PooledNamespaces>);

#[derive(Debug, Default)]
struct PooledNamespaces {
    free: Vec<OwnedFd>,
    /// Number of namespaces, including those in use.
    count: usize,
}

impl NetworkNamespacePool {
    /// Takes an unused namespace, if there is one.
    pub(super) fn take(&self) -> Option<OwnedFd> {
        self.lock().free.pop()
    }

    /// Takes a namespace back, and keeps it unless the pool has more than `wanted`.
    pub(super) fn put_back(&self, namespace: OwnedFd, wanted: usize) {
        let mut pooled = self.lock();
        if pooled.count <= wanted.min(KEPT_MAX) {
            pooled.free.push(namespace);
        } else {
            pooled.count -= 1;
        }
    }

    /// Adds a new namespace.
    pub(super) fn add(&self, namespace: OwnedFd) {
        let mut pooled = self.lock();
        pooled.free.push(namespace);
        pooled.count += 1;
    }

    /// Closes all but `wanted` unused namespaces.
    pub(super) fn shrink(&self, wanted: usize) {
        let mut pooled = self.lock();
        let too_many = pooled.free.len().saturating_sub(wanted);
        pooled.free.truncate(wanted);
        pooled.count -= too_many;
    }

    /// Returns `true` if the pool has fewer than `wanted` namespaces. A sandbox that had to create
    /// its own namespace does not add it to the pool.
    pub(super) fn lacks(&self, wanted: usize) -> bool {
        self.lock().count < wanted.min(KEPT_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, PooledNamespaces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
