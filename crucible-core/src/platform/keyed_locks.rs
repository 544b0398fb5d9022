//! Per-evaluation locks that serialize journal writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::model::EvaluationId;

/// One lock per evaluation. The holder writes to the journal and publishes the entries.
///
/// The lock keeps the events of one evaluation in journal order for monitors and subscribers. The
/// journal does not depend on it: [`Storage::append`](crate::Storage::append) fences writers.
#[derive(Debug, Default)]
pub(super) struct KeyedLocks {
    /// The locks that a task holds or waits for.
    locks: Mutex<HashMap<EvaluationId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A held lock. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct KeyedLockGuard<'a> {
    locks: &'a KeyedLocks,
    evaluation: EvaluationId,
    /// `None` while the task waits for the lock.
    held: Option<OwnedMutexGuard<()>>,
}

impl KeyedLocks {
    /// Waits for the lock of an evaluation and takes it.
    pub(super) async fn acquire(&self, evaluation: EvaluationId) -> KeyedLockGuard<'_> {
        let lock = Arc::clone(self.lock().entry(evaluation).or_default());
        // The guard exists before the wait, so that a cancelled wait also removes the map entry.
        let mut guard = KeyedLockGuard { locks: self, evaluation, held: None };
        guard.held = Some(lock.lock_owned().await);
        guard
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EvaluationId, Arc<tokio::sync::Mutex<()>>>> {
        // A plain map is consistent between statements, so a poisoned lock is safe to use.
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyedLockGuard<'_> {
    fn drop(&mut self) {
        let mut locks = self.locks.lock();
        self.held = None;
        // A count of 1 means that only the map refers to the lock. Other tasks get it from the map,
        // which is locked here.
        if locks.get(&self.evaluation).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.evaluation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn released_and_abandoned_locks_leave_the_map() {
        let locks = Arc::new(KeyedLocks::default());
        let (one, another) = (EvaluationId::new(), EvaluationId::new());
        let first = locks.acquire(one).await;
        let _independent = locks.acquire(another).await;
        let abandoned = tokio::time::timeout(Duration::from_secs(1), locks.acquire(one));
        assert!(abandoned.await.is_err(), "the lock is held");
        let waiting = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { drop(locks.acquire(one).await) }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap();
        assert_eq!(locks.lock().len(), 1, "only the independent lock remains");
    }
}
