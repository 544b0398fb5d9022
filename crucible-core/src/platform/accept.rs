//! Accepting evaluations: on the storage first, then in the queue.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::commit::pauses;
use super::error::SubmitError;
use super::handle::Handle;
use super::shared::{Accepted, Shared};
use crate::engine::OutputChunk;
use crate::journal::{Event, EventKind, RecordState, canonical_json};
use crate::model::{Digest, Evaluation, EvaluationId, Timestamp, error_chain};
use crate::queue::{QueueError, Ticket};
use crate::storage::StorageError;

/// How often a storage that is away is asked whether a refused evaluation runs, 600 ms in all, while the caller waits.
const REFUSE_TRIES: usize = 5;

impl Shared {
    /// Stores and queues an evaluation that was checked; `stored` is the same without the values of its secrets. `None`
    /// if it is to be tried again: whoever had its idempotency key has just lost it.
    pub(super) async fn accept(
        self: &Arc<Self>,
        evaluation: &Arc<Evaluation>,
        stored: &Arc<Evaluation>,
        output: Option<mpsc::Sender<OutputChunk>>,
    ) -> Result<Option<Handle>, SubmitError> {
        let id = EvaluationId::new();
        let ticket = Ticket::new(id, stored.priority, stored.tenant.clone());
        // What must not be stored, or cannot be.
        if output.is_some() || !Arc::ptr_eq(evaluation, stored) {
            self.accepted().insert(id, Accepted { evaluation: Arc::clone(evaluation), output });
        }
        let kind = EventKind::Submitted { evaluation: Arc::clone(stored) };
        let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
        let mut guard = Unqueued { shared: self, ticket: Some(ticket.clone()) };
        if let Err(error) = self.write(id, vec![event]).await {
            guard.ticket = None;
            self.accepted().remove(&id);
            return self.not_stored(id, stored, error).await;
        }
        if let Some(expires_in) = stored.expires_in {
            self.expiring.add(id, expires_in);
        }
        let queued = self.queue.enqueue(ticket).await;
        guard.ticket = None;
        match queued {
            // Somebody with the same idempotency key found it without a ticket, and was faster.
            Ok(()) | Err(QueueError::Duplicate { .. }) => {}
            Err(error) if self.not_queued(id, &error).await => {}
            Err(error) => return Err(SubmitError::Queue(error)),
        }
        Ok(Some(Handle::new(Arc::clone(self), id)))
    }

    /// An idempotency key that is taken gives the evaluation that has it, if that is the same evaluation.
    async fn not_stored(
        self: &Arc<Self>,
        id: EvaluationId,
        evaluation: &Evaluation,
        error: StorageError,
    ) -> Result<Option<Handle>, SubmitError> {
        let StorageError::KeyTaken { key, existing } = error else {
            if error.is_retryable() {
                // The storage may have it all the same, and could not be asked.
                self.refuse_later(id, error_chain(&error));
            }
            return Err(SubmitError::Storage(error));
        };
        let record = match self.storage.record(existing).await.map_err(SubmitError::Storage)? {
            Some(record) if record.is_refused() => return Ok(None),
            Some(record) if fingerprint(&record.evaluation) == fingerprint(evaluation) => record,
            _ => return Err(SubmitError::KeyReused { key, existing }),
        };
        if record.state == RecordState::Queued {
            // Whoever stored it may be about to put its ticket, or may have died before.
            let ticket =
                Ticket::new(existing, record.evaluation.priority, record.evaluation.tenant.clone());
            match self.queue.enqueue(ticket).await {
                Ok(()) | Err(QueueError::Duplicate { .. }) => {}
                Err(error) => return Err(SubmitError::Queue(error)),
            }
        }
        Ok(Some(Handle::new(Arc::clone(self), existing)))
    }

    /// Sees to it that nobody takes an evaluation for accepted which the queue did not take. `true` if it took it after
    /// all, and only its answer was lost.
    async fn not_queued(self: &Arc<Self>, id: EvaluationId, error: &QueueError) -> bool {
        let reason = error_chain(error);
        let mut pauses = pauses().take(REFUSE_TRIES);
        loop {
            match (self.refuse(id, &reason).await, pauses.next()) {
                (Ok(accepted), _) => return accepted,
                (Err(error), Some(pause)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await
                }
                (Err(error), _) => {
                    tracing::warn!(%id, %error, "a refused evaluation is still stored as queued");
                    self.refuse_later(id, reason);
                    return false;
                }
            }
        }
    }

    /// Marks an evaluation as refused, unless a worker has taken it: then it is `true` that it was accepted.
    async fn refuse(&self, id: EvaluationId, reason: &str) -> Result<bool, StorageError> {
        loop {
            let Some(record) = self.storage.record(id).await? else { return Ok(false) };
            if record.state != RecordState::Queued || record.attempt > 0 {
                return Ok(!record.is_refused());
            }
            let kind =
                EventKind::Cancelled { reason: format!("not queued: {reason}"), outcome: None };
            match self.commit(&record, vec![kind]).await {
                Ok(_) => {
                    self.drop_ticket(id).await;
                    return Ok(false);
                }
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Marks an evaluation as refused as soon as the storage lets us; its caller has been told so already.
    fn refuse_later(self: &Arc<Self>, id: EvaluationId, reason: String) {
        let shared = Arc::clone(self);
        let refusing = async move {
            for pause in pauses() {
                tokio::time::sleep(pause).await;
                let refused = match shared.refuse(id, &reason).await {
                    // Too late to refuse it; not too late to end it.
                    Ok(true) => shared.cancel(id).await.map(|_| ()),
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                };
                match refused {
                    Ok(()) => return,
                    Err(error) if error.is_retryable() => {}
                    Err(error) => {
                        return tracing::error!(%id, %error, "a refused evaluation may still run");
                    }
                }
            }
            tracing::error!(%id, "a refused evaluation may still run");
        };
        let abort = self.abort.clone();
        self.tasks.spawn_on(
            async move {
                tokio::select! {
                    () = refusing => {}
                    () = abort.cancelled() => tracing::error!(%id, "a refused evaluation may still run"),
                }
            },
            &self.runtime,
        );
    }
}

/// What makes two evaluations the same. Secrets do not: their values are not stored.
fn fingerprint(evaluation: &Evaluation) -> Option<Vec<u8>> {
    canonical_json(evaluation).ok()
}

/// Whoever drops a `submit` between storage and queue leaves a record without a ticket: this puts the ticket.
struct Unqueued<'a> {
    shared: &'a Arc<Shared>,
    ticket: Option<Ticket>,
}

impl Drop for Unqueued<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let shared = Arc::clone(self.shared);
        let queueing = async move {
            let id = ticket.evaluation;
            // It may not have been stored: then the worker that claims the ticket drops it.
            match shared.queue.enqueue(ticket).await {
                Ok(()) | Err(QueueError::Duplicate { .. }) => {}
                Err(error) => {
                    shared.not_queued(id, &error).await;
                }
            }
        };
        // Wherever the future is dropped: that may be outside of every runtime.
        self.shared.tasks.spawn_on(queueing, &self.shared.runtime);
    }
}
