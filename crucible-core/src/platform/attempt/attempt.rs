//! An attempt at an evaluation, from the claimed ticket to the settled ticket.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::engine_run::EngineRun;
use super::guard::AttemptGuard;
use super::lease::LeaseRenewal;
use super::settle::{STORAGE_PAUSE, Settlement, TicketAction};
use crate::journal::{EventKind, Record, RecordState, RequeueReason};
use crate::model::{ErrorReport, Timestamp, WorkerId};
use crate::platform::platform::{NamedEngine, Platform};
use crate::queue::Claim;
use crate::storage::StorageError;

/// A worker's attempt at the evaluation of a claimed ticket.
#[derive(Debug)]
pub(in crate::platform) struct Attempt<'a> {
    platform: &'a Platform,
    worker: &'a WorkerId,
    claim: &'a Claim,
    claimed_at: Instant,
}

impl<'a> Attempt<'a> {
    /// Creates an attempt. Call it right after the claim: the lease is counted from now.
    pub(in crate::platform) fn new(
        platform: &'a Platform,
        worker: &'a WorkerId,
        claim: &'a Claim,
    ) -> Self {
        Self { platform, worker, claim, claimed_at: Instant::now() }
    }

    /// Runs the evaluation if its record allows it, and settles the ticket.
    pub(in crate::platform) async fn run(self) {
        let id = self.claim.ticket.evaluation;
        self.platform.expiry.remove(id);
        let action = self.process().await.unwrap_or_else(|error| {
            tracing::error!(%id, %error, "cannot read or write a record; its ticket goes back");
            TicketAction::Nack(STORAGE_PAUSE)
        });
        if action == TicketAction::Ack {
            self.platform.accepted.remove(id);
        }
        action.apply(&*self.platform.queue, self.claim).await;
    }

    async fn process(&self) -> Result<TicketAction, StorageError> {
        let id = self.claim.ticket.evaluation;
        let Some(record) = self.platform.storage().record(id).await? else {
            tracing::warn!(%id, "a ticket without a record was dropped");
            return Ok(TicketAction::Ack);
        };
        if record.state.is_terminal() {
            return Ok(TicketAction::Ack);
        }
        let mut kinds = Vec::new();
        if record.state == RecordState::Running {
            // The queue hands out the ticket of a running evaluation only after its lease expired.
            kinds.push(EventKind::Requeued {
                attempt: record.attempt,
                reason: RequeueReason::LeaseExpired,
            });
        }
        let processed = match self.engine_or_end(&record) {
            Ok(engine) => self.start(&record, kinds, engine).await,
            Err(end) => {
                kinds.push(end);
                let appended = self.platform.journal.append_next(&record, kinds).await;
                appended.map(|_| TicketAction::Ack)
            }
        };
        match processed {
            // Another writer was faster. A worker reads the new record immediately.
            Err(StorageError::Conflict { .. }) => Ok(TicketAction::Nack(Duration::ZERO)),
            other => other,
        }
    }

    /// Returns the engine for the evaluation, or the event that ends the evaluation without a run.
    fn engine_or_end(&self, record: &Record) -> Result<&'a NamedEngine, EventKind> {
        if record.cancel_requested {
            return Err(self.platform.cancelled_before_start(record));
        }
        let expired_leases = self.claim.expired_leases;
        if expired_leases >= self.platform.config.max_expired_leases {
            let message = format!("{expired_leases} leases on this evaluation expired");
            return Err(EventKind::Failed { error: ErrorReport::new("poison", message) });
        }
        if let (Some(expires_in), 0) = (record.evaluation.expires_in, record.attempt)
            && Timestamp::now() >= record.submitted_at.saturating_add(expires_in)
        {
            return Err(EventKind::Expired);
        }
        let name = record.evaluation.engine.as_deref();
        self.platform.engine(name).ok_or_else(|| {
            let message = format!("this host has no engine `{}`", name.unwrap_or_default());
            EventKind::Failed { error: ErrorReport::new("unsupported", message) }
        })
    }

    async fn start(
        &self,
        record: &Record,
        mut kinds: Vec<EventKind>,
        engine: &NamedEngine,
    ) -> Result<TicketAction, StorageError> {
        let attempt = record.attempt + 1;
        kinds.push(EventKind::Started {
            attempt,
            worker: self.worker.clone(),
            engine: engine.name.clone(),
        });
        // The attempt is registered before its entry is written: a caller that reads `Running` and
        // cancels must find it here.
        let cancel = self.platform.abort.child_token();
        let _registration = self.platform.running.register(record.id, attempt, cancel.clone());
        let record = self.platform.journal.append_next(record, kinds).await?;
        Ok(self.execute(&record, engine, &cancel).await)
    }

    /// Runs the engine while the lease is renewed, and writes the result while the lease is held.
    async fn execute(
        &self,
        record: &Record,
        engine: &NamedEngine,
        cancel: &CancellationToken,
    ) -> TicketAction {
        let guard = AttemptGuard::new(&self.platform.journal, self.worker, record);
        let engine_run =
            EngineRun { platform: self.platform, claim: self.claim, record, engine, cancel };
        let settlement = Settlement { platform: self.platform, record, guard: &guard };
        let run = async {
            tokio::select! {
                result = engine_run.run() => settlement.settle(result).await,
                // Dropping the run ends its sandbox. Another worker may run the evaluation now.
                () = guard.lease_lost.cancelled() => TicketAction::Lost,
            }
        };
        let renewal = LeaseRenewal {
            queue: &*self.platform.queue,
            storage: self.platform.storage(),
            claim: self.claim,
            lease: self.platform.config.lease,
            lease_lost: &guard.lease_lost,
            cancel,
        };
        let renew = async {
            renewal.run(self.claimed_at).await;
            // `run` observes the lost lease and ends.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            action = run => action,
            () = renew => TicketAction::Lost,
        }
    }
}
