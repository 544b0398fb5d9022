//! Cancelling: here, and on request of another host.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::MissedTickBehavior;

use super::attempt::cancelled;
use super::shared::Shared;
use crate::bus::EventFilter;
use crate::journal::{EventKind, RecordState};
use crate::model::EvaluationId;
use crate::storage::StorageError;

/// How often what was accepted here and ended elsewhere is forgotten, and a lost subscription is made anew.
const SWEEP: Duration = Duration::from_secs(60);
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

impl Shared {
    /// Cancels an evaluation, wherever it runs. `false` if it is unknown or has already ended.
    pub(super) async fn cancel(&self, id: EvaluationId) -> Result<bool, StorageError> {
        loop {
            let Some(record) = self.storage.record(id).await? else { return Ok(false) };
            let kind = match record.state {
                RecordState::Queued => cancelled("on request", &self.engine_name(&record)),
                RecordState::Running => EventKind::CancelRequested,
                _ => return Ok(false),
            };
            if !(record.state == RecordState::Running && record.cancel_requested) {
                match self.commit(&record, vec![kind]).await {
                    Ok(_) => {}
                    // A worker took it, or it ended: look again.
                    Err(StorageError::Conflict { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            if record.state == RecordState::Queued {
                self.drop_ticket(id).await;
            } else if let Some(running) = self.running().get(&id) {
                running.cancel.cancel();
            }
            return Ok(true);
        }
    }

    /// Removes the ticket of an evaluation that has ended. One that stays is dropped by whoever claims it.
    pub(super) async fn drop_ticket(&self, id: EvaluationId) {
        self.accepted().remove(&id);
        self.expiring.forget(id);
        if let Err(error) = self.queue.remove(id).await {
            tracing::warn!(%id, %error, "the ticket of an ended evaluation was not removed");
        }
    }
}

/// Listens for requests to cancel what runs here, until the platform stops.
pub(super) async fn listen(shared: Arc<Shared>) {
    let mut sweeps = tokio::time::interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let filter = EventFilter::all().with_kinds([EventKind::CancelRequested.name()]);
        let requests = tokio::select! {
            requests = shared.bus.subscribe(filter) => requests,
            () = shared.closed.cancelled() => return,
        };
        match requests {
            Ok(mut requests) => loop {
                tokio::select! {
                    () = shared.closed.cancelled() => return,
                    _ = sweeps.tick() => sweep(&shared).await,
                    request = requests.next() => match request {
                        Some(Ok(event)) => {
                            if let Some(running) = shared.running().get(&event.evaluation) {
                                running.cancel.cancel();
                            }
                        }
                        // What was missed is found in the record when the lease is renewed.
                        Some(Err(lagged)) => tracing::warn!(%lagged, "requests to cancel were missed"),
                        None => break,
                    },
                }
            },
            Err(error) => {
                tracing::warn!(%error, "requests to cancel cannot be heard; trying again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RESUBSCRIBE_PAUSE) => {}
            () = shared.closed.cancelled() => return,
        }
    }
}

/// Forgets what was accepted here and ended elsewhere.
async fn sweep(shared: &Shared) {
    let ids: Vec<_> = shared.accepted().keys().copied().collect();
    for id in ids {
        if let Ok(Some(record)) = shared.storage.record(id).await
            && record.state.is_terminal()
        {
            shared.accepted().remove(&id);
        }
    }
}
