//! Evaluations that nobody took in time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::shared::Shared;
use crate::journal::{EventKind, RecordState};
use crate::model::EvaluationId;
use crate::storage::StorageError;

/// The pause before an evaluation is marked again whose end could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The evaluations accepted here that expire, and when. A worker that claims one too late ends it as well, so nothing
/// depends on this: it makes the answer come in time.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    times: Mutex<Times>,
    /// Wakes the task that watches the clock: another evaluation is the next to expire.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Times {
    in_order: BTreeSet<(Instant, EvaluationId)>,
    of: HashMap<EvaluationId, Instant>,
}

impl Expiring {
    /// Ends an evaluation as `Expired` if it was not started `after` from now.
    pub(super) fn add(&self, id: EvaluationId, after: Duration) {
        // What expires later than a clock can express never does.
        let Some(at) = Instant::now().checked_add(after) else { return };
        let mut times = self.lock();
        times.of.insert(id, at);
        times.in_order.insert((at, id));
        let is_next = times.in_order.first() == Some(&(at, id));
        drop(times);
        if is_next {
            self.sooner.notify_one();
        }
    }

    /// Forgets an evaluation: it was taken, or it has ended. `false` if it was not known.
    pub(super) fn forget(&self, id: EvaluationId) -> bool {
        let mut times = self.lock();
        times.of.remove(&id).is_some_and(|at| times.in_order.remove(&(at, id)))
    }

    /// Waits for the next one whose time has come.
    async fn next(&self) -> EvaluationId {
        loop {
            let next = self.lock().in_order.first().copied();
            let Some((at, id)) = next else {
                self.sooner.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => if self.forget(id) {
                    return id;
                },
                () = self.sooner.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        // Two plain maps: a panic elsewhere finds them whole.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends evaluations whose time has come, until the platform stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        let id = tokio::select! {
            () = shared.stop.cancelled() => return,
            id = shared.expiring.next() => id,
        };
        if let Err(error) = expire(&shared, id).await {
            tracing::warn!(%id, %error, "an evaluation was not marked as expired; trying again");
            shared.expiring.add(id, RETRY_PAUSE);
        }
    }
}

async fn expire(shared: &Shared, id: EvaluationId) -> Result<(), StorageError> {
    loop {
        let Some(record) = shared.storage.record(id).await? else { return Ok(()) };
        if record.state != RecordState::Queued || record.attempt > 0 {
            return Ok(());
        }
        match shared.commit(&record, vec![EventKind::Expired]).await {
            Ok(_) => break,
            Err(StorageError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    shared.drop_ticket(id).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_is_the_soonest_whenever_it_came_and_unless_it_was_forgotten() {
        let expiring = Arc::new(Expiring::default());
        let ids: Vec<_> = (0..4).map(|_| EvaluationId::new()).collect();
        let began = Instant::now();
        let waiting = tokio::spawn({
            let expiring = Arc::clone(&expiring);
            async move { [expiring.next().await, expiring.next().await] }
        });
        for (id, secs) in ids.iter().zip([u64::MAX, 30, 20, 10]) {
            tokio::task::yield_now().await;
            expiring.add(*id, Duration::from_secs(secs));
        }
        expiring.forget(ids[2]);
        assert_eq!(waiting.await.unwrap(), [ids[3], ids[1]]);
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        assert!(expiring.lock().of.is_empty() && expiring.lock().in_order.is_empty());
    }
}
