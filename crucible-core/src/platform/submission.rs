//! The acceptance of an evaluation: first by the storage, then by the queue.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::accepted_evaluations::AcceptedEvaluation;
use super::error::SubmitError;
use super::handle::Handle;
use super::platform::Platform;
use super::refusal::Refusal;
use crate::engine::OutputChunk;
use crate::journal::{Event, EventKind, Record, RecordState, canonical_json};
use crate::model::{Digest, Evaluation, EvaluationId, Timestamp};
use crate::queue::{QueueError, Ticket};
use crate::storage::StorageError;

/// A checked evaluation that the platform is about to accept.
#[derive(Debug)]
pub(super) struct Submission {
    platform: Arc<Platform>,
    evaluation: Arc<Evaluation>,
    /// The evaluation without the values of its secrets: the form that is stored and published.
    stored: Arc<Evaluation>,
    output: Option<mpsc::Sender<OutputChunk>>,
}

impl Submission {
    pub(super) fn new(
        platform: Arc<Platform>,
        evaluation: Evaluation,
        output: Option<mpsc::Sender<OutputChunk>>,
    ) -> Self {
        let evaluation = Arc::new(evaluation);
        let stored = evaluation.without_secrets().map_or_else(|| Arc::clone(&evaluation), Arc::new);
        Self { platform, evaluation, stored, output }
    }

    /// Stores the evaluation and enqueues its ticket.
    pub(super) async fn accept(&self) -> Result<Handle, SubmitError> {
        loop {
            if let Some(handle) = self.try_accept().await? {
                return Ok(handle);
            }
        }
    }

    /// Tries once. Returns `None` if the evaluation that held the idempotency key was refused, so
    /// that the key is free again.
    async fn try_accept(&self) -> Result<Option<Handle>, SubmitError> {
        let platform = &self.platform;
        let id = EvaluationId::new();
        let ticket = Ticket::new(id, self.stored.priority, self.stored.tenant.clone());
        let has_secrets = !Arc::ptr_eq(&self.evaluation, &self.stored);
        if self.output.is_some() || has_secrets {
            let evaluation = Arc::clone(&self.evaluation);
            let accepted = AcceptedEvaluation { evaluation, output: self.output.clone() };
            platform.accepted.insert(id, accepted);
        }
        let kind = EventKind::Submitted { evaluation: Arc::clone(&self.stored) };
        let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
        let mut guard = EnqueueOnDrop { platform, ticket: Some(ticket.clone()) };
        if let Err(error) = platform.journal.append(id, vec![event]).await {
            guard.ticket = None;
            platform.accepted.remove(id);
            return self.resolve_append_error(id, error).await;
        }
        if let Some(expires_in) = self.stored.expires_in {
            platform.expiry.add(id, expires_in);
        }
        let queued = enqueue(platform, ticket).await;
        guard.ticket = None;
        match queued {
            Ok(()) => {}
            Err(error) if Refusal::new(platform, id, &error).apply().await => {}
            Err(error) => return Err(SubmitError::Queue(error)),
        }
        Ok(Some(self.handle(id)))
    }

    /// Returns the handle of the evaluation that holds the idempotency key, if it is the same
    /// evaluation.
    async fn resolve_append_error(
        &self,
        id: EvaluationId,
        error: StorageError,
    ) -> Result<Option<Handle>, SubmitError> {
        let StorageError::KeyTaken { key, existing } = error else {
            if error.is_retryable() {
                // The storage may have the evaluation although the call failed.
                Refusal::new(&self.platform, id, &error).apply_later();
            }
            return Err(SubmitError::Storage(error));
        };
        let record =
            self.platform.storage().record(existing).await.map_err(SubmitError::Storage)?;
        let record = match record {
            Some(record) if record.is_refused() => return Ok(None),
            Some(record) if fingerprint(&record.evaluation) == fingerprint(&self.stored) => record,
            _ => return Err(SubmitError::KeyReused { key, existing }),
        };
        if record.state == RecordState::Queued {
            // The other submitter may not have enqueued the ticket yet, or may have died.
            enqueue(&self.platform, ticket(&record)).await.map_err(SubmitError::Queue)?;
        }
        Ok(Some(self.handle(existing)))
    }

    fn handle(&self, id: EvaluationId) -> Handle {
        Handle::new(Arc::clone(&self.platform), id)
    }
}

/// Enqueues a ticket. A ticket that is already in the queue is a success.
async fn enqueue(platform: &Platform, ticket: Ticket) -> Result<(), QueueError> {
    match platform.queue.enqueue(ticket).await {
        Ok(()) | Err(QueueError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the ticket of a stored evaluation.
pub(super) fn ticket(record: &Record) -> Ticket {
    let evaluation = &record.evaluation;
    Ticket::new(record.id, evaluation.priority, evaluation.tenant.clone())
}

/// Returns the bytes by which two evaluations are compared. The values of secrets are not stored,
/// so they are not part of them.
fn fingerprint(evaluation: &Evaluation) -> Option<Vec<u8>> {
    canonical_json(evaluation).ok()
}

/// Enqueues the ticket of a stored evaluation if the caller drops `submit` before `enqueue`.
struct EnqueueOnDrop<'a> {
    platform: &'a Arc<Platform>,
    ticket: Option<Ticket>,
}

impl Drop for EnqueueOnDrop<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let platform = Arc::clone(self.platform);
        let queueing = async move {
            let id = ticket.evaluation;
            // If the evaluation was not stored, the worker that claims the ticket drops it.
            if let Err(error) = enqueue(&platform, ticket).await {
                Refusal::new(&platform, id, &error).apply().await;
            }
        };
        // The caller may drop the future outside of every runtime.
        self.platform.tasks.spawn_on(queueing, &self.platform.runtime);
    }
}
