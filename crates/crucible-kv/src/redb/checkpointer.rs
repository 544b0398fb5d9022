//! The background thread that applies the log to the tree.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::tree::RedbTree;
use super::wal_record;
use crate::{Batch, KvError};

/// A tree, and the committed entries that the tree does not contain yet.
#[derive(Debug)]
pub(super) struct Checkpointer {
    tree: RedbTree,
    memtables: RwLock<Memtables>,
    state: Mutex<CheckpointState>,
    changed: Condvar,
}

/// The committed entries that the tree does not contain yet.
#[derive(Debug, Default)]
pub(super) struct Memtables {
    /// The entries of the active log file.
    pub(super) active: Batch,
    /// The entries of the other log file, which are being applied to the tree.
    pub(super) flushing: Arc<Batch>,
    /// The number of times that `flushing` has moved into the tree.
    pub(super) generation: u64,
}

#[derive(Debug, Default)]
struct CheckpointState {
    /// The entries to apply, and the number of their last log record.
    job: Option<(Arc<Batch>, u64)>,
    /// The error of the last try. [`Checkpointer::wait`] causes another try.
    failed: Option<KvError>,
    stopped: bool,
}

impl Checkpointer {
    pub(super) fn new(tree: RedbTree) -> Self {
        Self {
            tree,
            memtables: RwLock::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn tree(&self) -> &RedbTree {
        &self.tree
    }

    pub(super) fn memtables(&self) -> RwLockReadGuard<'_, Memtables> {
        self.memtables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a commit visible. `batch` is the encoded batch of its log record; the memtable shares
    /// these bytes. Returns `None` if they do not decode.
    pub(super) fn add(&self, batch: &Bytes) -> Option<()> {
        let mut memtables = self.memtables.write().unwrap_or_else(PoisonError::into_inner);
        wal_record::decode_batch(batch, &mut memtables.active)
    }

    /// Starts to apply the active memtable, whose last log record has the number `last`. No other
    /// checkpoint may be running.
    pub(super) fn start(&self, last: u64) {
        let mut memtables = self.memtables.write().unwrap_or_else(PoisonError::into_inner);
        memtables.flushing = Arc::new(std::mem::take(&mut memtables.active));
        let job = (Arc::clone(&memtables.flushing), last);
        drop(memtables);
        self.lock().job = Some(job);
        self.changed.notify_all();
    }

    /// Waits until no checkpoint is running. Retries a failed checkpoint once.
    pub(super) fn wait(&self) -> Result<(), KvError> {
        let mut state = self.lock();
        if state.failed.take().is_some() {
            self.changed.notify_all();
        }
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.job.is_none() {
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Applies memtables until [`stop`](Self::stop) is called.
    pub(super) fn run(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some((batch, last)) = state.job.clone().filter(|_| state.failed.is_none()) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let result = self.tree.apply(&batch, last);
            if result.is_ok() {
                // Clear the memtable only after the tree has the entries, so that a reader always
                // finds them in one of the two.
                let mut memtables = self.memtables.write().unwrap_or_else(PoisonError::into_inner);
                memtables.flushing = Arc::default();
                memtables.generation += 1;
            }
            state = self.lock();
            match result {
                Ok(()) => state.job = None,
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
    }

    /// Ends [`run`](Self::run).
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Locks the state. No code under the lock can panic half-way, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, CheckpointState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
