//! One attempt at one evaluation: from a claimed ticket to a ticket that is settled.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::commit::{Right, pauses};
use super::shared::{NamedEngine, Running, Shared};
use crate::journal::{EventKind, Record, RecordState, RequeueReason};
use crate::model::{ErrorReport, EvaluationId, Timestamp, WorkerId};
use crate::queue::{Claim, QueueError};
use crate::result::{Evidence, Outcome};
use crate::storage::StorageError;

/// The pause before a ticket is tried again whose record could not be read or written.
pub(super) const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// How often a queue that is away is asked again to settle a ticket, 600 ms in all. A ticket that stays claimed comes
/// back when its lease runs out, but that counts as a death.
const SETTLE_TRIES: usize = 5;

/// What becomes of a claimed ticket.
#[derive(Debug)]
pub(super) enum Settled {
    /// There is nothing more to do for it.
    Ack,
    /// It is to be worked on again, after this pause.
    Nack(Duration),
    /// Another holds it.
    Lost,
}

impl Shared {
    /// Works on a claimed ticket until there is nothing more to do for it.
    pub(super) async fn attempt(&self, worker: &WorkerId, claim: Claim) {
        let id = claim.ticket.evaluation;
        self.expiring.forget(id);
        let settled = self.work_on(worker, &claim, Instant::now()).await.unwrap_or_else(|error| {
            tracing::error!(%id, %error, "an evaluation could not be worked on; its ticket goes back");
            Settled::Nack(STORAGE_PAUSE)
        });
        if matches!(settled, Settled::Ack) {
            self.accepted().remove(&id);
        }
        let mut pauses = pauses().take(SETTLE_TRIES);
        loop {
            let done = match settled {
                Settled::Ack => self.queue.ack(&claim).await,
                Settled::Nack(delay) => self.queue.nack(&claim, delay).await,
                Settled::Lost => Ok(()),
            };
            match (done, pauses.next()) {
                (Ok(()) | Err(QueueError::Lost { .. }), _) => return,
                (Err(error), Some(pause)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await
                }
                // The lease runs out, and whoever claims the ticket then does what the journal says.
                (Err(error), _) => {
                    tracing::warn!(%id, %error, "a ticket was not given back");
                    return;
                }
            }
        }
    }

    async fn work_on(
        &self,
        worker: &WorkerId,
        claim: &Claim,
        claimed: Instant,
    ) -> Result<Settled, StorageError> {
        let id = claim.ticket.evaluation;
        let Some(record) = self.storage.record(id).await? else {
            tracing::warn!(%id, "a ticket without a record was dropped");
            return Ok(Settled::Ack);
        };
        if record.state.is_terminal() {
            return Ok(Settled::Ack);
        }
        let mut kinds = Vec::new();
        if record.state == RecordState::Running {
            // Only a lease that ran out hands a running evaluation to another.
            kinds.push(EventKind::Requeued {
                attempt: record.attempt,
                reason: RequeueReason::LeaseExpired,
            });
        }
        let ready = match self.ends_unstarted(&record, claim) {
            Some(end) => Err(end),
            None => {
                self.engine(record.evaluation.engine.as_deref()).ok_or_else(|| no_engine(&record))
            }
        };
        match ready {
            Ok(engine) => self.start(worker, claim, claimed, &record, kinds, engine).await,
            Err(end) => {
                kinds.push(end);
                let written = self.commit(&record, kinds).await;
                again_on_conflict(written.map(|_| Settled::Ack))
            }
        }
    }

    async fn start(
        &self,
        worker: &WorkerId,
        claim: &Claim,
        claimed: Instant,
        record: &Record,
        mut kinds: Vec<EventKind>,
        engine: &NamedEngine,
    ) -> Result<Settled, StorageError> {
        let attempt = record.attempt + 1;
        kinds.push(EventKind::Started {
            attempt,
            worker: worker.clone(),
            engine: engine.name.clone(),
        });
        // Before the entry is written: whoever reads that it runs and asks to cancel must find it here.
        let cancel = self.abort.child_token();
        let _registered = Registered::new(self, record.id, attempt, cancel.clone());
        match self.commit(record, kinds).await {
            Ok(record) => {
                let right = Right { worker, attempt };
                Ok(self.execute(claim, claimed, &record, engine, &right, &cancel).await)
            }
            Err(error) => again_on_conflict(Err(error)),
        }
    }

    /// The event that ends an evaluation which is not to be started.
    fn ends_unstarted(&self, record: &Record, claim: &Claim) -> Option<EventKind> {
        if record.cancel_requested {
            return Some(cancelled("on request", &self.engine_name(record)));
        }
        if claim.expired_leases >= self.config.max_expired_leases {
            let message = format!("{} workers died over this evaluation", claim.expired_leases);
            return Some(EventKind::Failed { error: ErrorReport::new("poison", message) });
        }
        let expires_at = record.submitted_at.saturating_add(record.evaluation.expires_in?);
        (record.attempt == 0 && Timestamp::now() >= expires_at).then_some(EventKind::Expired)
    }

    /// The kind of engine that would run it, for an outcome of a run that never was.
    pub(super) fn engine_name(&self, record: &Record) -> String {
        let engine = self.engine(record.evaluation.engine.as_deref());
        engine.map(|named| named.engine.info().name).unwrap_or_default()
    }
}

/// Somebody else wrote between reading and writing: look again at once.
fn again_on_conflict(written: Result<Settled, StorageError>) -> Result<Settled, StorageError> {
    match written {
        Err(StorageError::Conflict { .. }) => Ok(Settled::Nack(Duration::ZERO)),
        other => other,
    }
}

fn no_engine(record: &Record) -> EventKind {
    let name = record.evaluation.engine.as_deref().unwrap_or_default();
    EventKind::Failed {
        error: ErrorReport::new("unsupported", format!("this host has no engine `{name}`")),
    }
}

/// The event for an evaluation that is cancelled before it ran.
pub(super) fn cancelled(reason: &str, engine: &str) -> EventKind {
    let outcome = Outcome::new(engine, vec![Evidence::CancelledBeforeStart]);
    EventKind::Cancelled { reason: reason.to_owned(), outcome: Some(outcome.into()) }
}

/// An attempt that runs in this process, for as long as this lives.
struct Registered<'a> {
    shared: &'a Shared,
    id: EvaluationId,
    attempt: u32,
}

impl<'a> Registered<'a> {
    fn new(shared: &'a Shared, id: EvaluationId, attempt: u32, cancel: CancellationToken) -> Self {
        shared.running().insert(id, Running { attempt, cancel });
        Self { shared, id, attempt }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut running = self.shared.running();
        // Who lost the lease may notice it after another worker of this process has begun the next attempt.
        if running.get(&self.id).is_some_and(|running| running.attempt == self.attempt) {
            running.remove(&self.id);
        }
    }
}
