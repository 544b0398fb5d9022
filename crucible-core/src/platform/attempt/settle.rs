//! The end of an attempt: its event in the journal, and the action on its ticket.

use std::sync::Arc;
use std::time::Duration;

use super::artifacts::store_artifacts;
use super::guard::{AttemptGuard, GuardedAppend};
use crate::engine::EngineError;
use crate::journal::{EventKind, Record, RequeueReason};
use crate::model::ErrorReport;
use crate::platform::backoff::retry_pauses;
use crate::platform::platform::Platform;
use crate::queue::{Claim, Queue, QueueError};
use crate::result::{Evidence, Outcome, Verdict};

/// The delay of a ticket after its record could not be read or written.
pub(super) const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// The number of calls to an unavailable queue to settle a ticket, 600 ms in all. A ticket that
/// stays claimed returns when its lease expires, but that counts as an expired lease.
const SETTLE_TRIES: usize = 5;

/// The action on a claimed ticket at the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketAction {
    /// Removes the ticket: the evaluation has ended.
    Ack,
    /// Returns the ticket to the queue, with this delay.
    Nack(Duration),
    /// Leaves the ticket: another worker holds it.
    Lost,
}

impl TicketAction {
    /// Applies the action. If the queue stays unavailable, the lease expires and the next worker
    /// acts on the journal.
    pub(super) async fn apply(self, queue: &dyn Queue, claim: &Claim) {
        let mut pauses = retry_pauses().take(SETTLE_TRIES);
        loop {
            let settled = match self {
                Self::Ack => queue.ack(claim).await,
                Self::Nack(delay) => queue.nack(claim, delay).await,
                Self::Lost => Ok(()),
            };
            match (settled, pauses.next()) {
                (Ok(()) | Err(QueueError::Lost { .. }), _) => return,
                (Err(error), Some(pause)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await;
                }
                (Err(error), _) => {
                    let id = claim.ticket.evaluation;
                    tracing::warn!(%id, %error, "cannot settle a ticket; its lease will expire");
                    return;
                }
            }
        }
    }
}

/// The settlement of an attempt after its engine has returned.
#[derive(Debug)]
pub(super) struct Settlement<'a> {
    pub(super) platform: &'a Platform,
    /// The record with the attempt's `Started` entry.
    pub(super) record: &'a Record,
    pub(super) guard: &'a AttemptGuard<'a>,
}

impl Settlement<'_> {
    /// Appends the event for the engine's result and returns the action on the ticket.
    pub(super) async fn settle(&self, result: Result<Outcome, EngineError>) -> TicketAction {
        let id = self.record.id;
        let (kind, action) = match result {
            Ok(outcome) => self.conclude(outcome).await,
            Err(error) => self.fail(&error),
        };
        match self.guard.append(&kind).await {
            Ok(GuardedAppend::Appended) => action,
            Ok(GuardedAppend::Lost) => {
                tracing::warn!(%id, "an attempt ended after its lease; its result is dropped");
                TicketAction::Lost
            }
            Err(error) => {
                tracing::error!(%id, %error, "cannot write the end of an attempt");
                TicketAction::Nack(STORAGE_PAUSE)
            }
        }
    }

    /// Returns the event and the action for an outcome.
    async fn conclude(&self, mut outcome: Outcome) -> (EventKind, TicketAction) {
        let storage = self.platform.storage();
        store_artifacts(storage, self.record.id, &mut outcome, &self.guard.lease_lost).await;
        if *outcome.verdict() != Verdict::Cancelled {
            return (EventKind::Finished { outcome: Arc::new(outcome) }, TicketAction::Ack);
        }
        if self.is_cancel_requested().await {
            return (cancelled("on request", outcome), TicketAction::Ack);
        }
        let unstarted = outcome.evidence().contains(&Evidence::CancelledBeforeStart);
        if !self.platform.abort.is_cancelled() {
            let what = "it reports a cancelled run without a cancel request".to_owned();
            return self.fail(&EngineError::Protocol { what, started: !unstarted });
        }
        // The platform shuts down. The next worker may run an unstarted or idempotent evaluation.
        if unstarted || self.record.evaluation.retry.idempotent {
            return self.requeue();
        }
        (cancelled("the platform was shut down", outcome), TicketAction::Ack)
    }

    /// Returns the event and the action for an infrastructure failure.
    fn fail(&self, error: &EngineError) -> (EventKind, TicketAction) {
        let (attempt, retry) = (self.record.attempt, &self.record.evaluation.retry);
        let may_repeat = !error.target_started() || retry.idempotent;
        if may_repeat && self.platform.abort.is_cancelled() {
            return self.requeue();
        }
        let report = ErrorReport::from(error);
        if error.is_retryable() && may_repeat && attempt < retry.attempts {
            let retry_in = retry.pause(attempt);
            let kind = EventKind::AttemptFailed { attempt, error: report, retry_in };
            return (kind, TicketAction::Nack(retry_in));
        }
        (EventKind::Failed { error: report }, TicketAction::Ack)
    }

    fn requeue(&self) -> (EventKind, TicketAction) {
        let kind =
            EventKind::Requeued { attempt: self.record.attempt, reason: RequeueReason::Shutdown };
        (kind, TicketAction::Nack(Duration::ZERO))
    }

    async fn is_cancel_requested(&self) -> bool {
        match self.platform.storage().record(self.record.id).await {
            Ok(Some(now)) => now.cancel_requested,
            // A run is cancelled either on request or by the shutdown of the platform.
            Ok(None) | Err(_) => {
                self.record.cancel_requested || !self.platform.abort.is_cancelled()
            }
        }
    }
}

fn cancelled(reason: &str, outcome: Outcome) -> EventKind {
    EventKind::Cancelled { reason: reason.to_owned(), outcome: Some(Arc::new(outcome)) }
}
