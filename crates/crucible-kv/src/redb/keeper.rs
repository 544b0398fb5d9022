//! Bringing what is in the log into the tree, beside the commits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::record;
use super::tree::Tree;
use crate::{Batch, KvError};

/// A tree, and what is not in it yet.
#[derive(Debug)]
pub(super) struct Keeper {
    tree: Tree,
    recent: RwLock<Recent>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What was committed and is not in the tree.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// What is in the log's active file.
    pub(super) active: Batch,
    /// What is in the other one, and on its way into the tree.
    pub(super) settling: Arc<Batch>,
    /// How often something went from here into the tree.
    pub(super) settled: u64,
}

#[derive(Debug, Default)]
struct State {
    /// What is to be brought into the tree, and the number of its last record.
    job: Option<(Arc<Batch>, u64)>,
    /// Why that did not work. It is tried again when somebody asks for it.
    failed: Option<KvError>,
    stopped: bool,
}

impl Keeper {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, recent: RwLock::default(), state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a commit visible: a batch as it is in its record, of which it then takes no more memory than the log does of the disk.
    pub(super) fn add(&self, batch: &Bytes) -> Option<()> {
        record::read(batch, &mut self.recent.write().unwrap_or_else(PoisonError::into_inner).active)
    }

    /// Lets everything up to a record be brought into the tree. Nothing else is on its way.
    pub(super) fn settle(&self, last: u64) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.settling = Arc::new(std::mem::take(&mut recent.active));
        let job = (Arc::clone(&recent.settling), last);
        drop(recent);
        self.lock().job = Some(job);
        self.changed.notify_all();
    }

    /// Waits until nothing is on its way any more. What has failed is tried once more.
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

    /// Does the work until [`stop`](Self::stop).
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
                // Only now, so that whoever reads finds it in one place or the other.
                let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
                recent.settling = Arc::default();
                recent.settled += 1;
            }
            state = self.lock();
            match result {
                Ok(()) => state.job = None,
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
