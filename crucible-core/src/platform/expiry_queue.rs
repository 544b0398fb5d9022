//! The queue of evaluations that will expire.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::EvaluationId;

/// The expiry times of evaluations that this process accepted.
///
/// A worker that claims an expired evaluation also ends it. This queue only makes the answer come
/// in time.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue {
    times: Mutex<ExpiryTimes>,
    /// Notified when the next expiry time becomes earlier.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct ExpiryTimes {
    ordered: BTreeSet<(Instant, EvaluationId)>,
    by_evaluation: HashMap<EvaluationId, Instant>,
}

impl ExpiryQueue {
    /// Adds an evaluation that expires `after` from now.
    pub(super) fn add(&self, id: EvaluationId, after: Duration) {
        // A time that the clock cannot represent never comes.
        let Some(at) = Instant::now().checked_add(after) else { return };
        let mut times = self.lock();
        times.by_evaluation.insert(id, at);
        times.ordered.insert((at, id));
        let is_first = times.ordered.first() == Some(&(at, id));
        drop(times);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Removes an evaluation that was started or has ended. Returns `false` if it is not queued.
    pub(super) fn remove(&self, id: EvaluationId) -> bool {
        let mut times = self.lock();
        times.by_evaluation.remove(&id).is_some_and(|at| times.ordered.remove(&(at, id)))
    }

    /// Waits for the next evaluation to expire and removes it.
    pub(super) async fn next(&self) -> EvaluationId {
        loop {
            let first = self.lock().ordered.first().copied();
            let Some((at, id)) = first else {
                self.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => if self.remove(id) {
                    return id;
                },
                () = self.earlier.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ExpiryTimes> {
        // No code panics between the updates of the two maps, so a poisoned lock is safe to use.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn next_returns_the_earliest_time_in_any_order_of_adds() {
        let expiry = Arc::new(ExpiryQueue::default());
        let ids: Vec<_> = (0..4).map(|_| EvaluationId::new()).collect();
        let started = Instant::now();
        let waiting = tokio::spawn({
            let expiry = Arc::clone(&expiry);
            async move { [expiry.next().await, expiry.next().await] }
        });
        for (id, secs) in ids.iter().zip([u64::MAX, 30, 20, 10]) {
            tokio::task::yield_now().await;
            expiry.add(*id, Duration::from_secs(secs));
        }
        expiry.remove(ids[2]);
        assert_eq!(waiting.await.unwrap(), [ids[3], ids[1]]);
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert!(expiry.lock().by_evaluation.is_empty() && expiry.lock().ordered.is_empty());
    }
}
