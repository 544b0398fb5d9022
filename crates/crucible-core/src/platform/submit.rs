//! Accepting evaluations.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::attempt::cancelled;
use super::error::SubmitError;
use super::expiry;
use super::handle::Handle;
use super::shared::{Accepted, Shared};
use crate::canonical::canonical_json;
use crate::digest::Digest;
use crate::engine_error::chain;
use crate::evaluation::Evaluation;
use crate::event::{Event, EventKind};
use crate::id::EvaluationId;
use crate::output::OutputChunk;
use crate::plan::Plan;
use crate::problem::InvalidInput;
use crate::queue::{QueueError, Ticket};
use crate::record::Record;
use crate::storage::StorageError;
use crate::time::Timestamp;

/// What this process wants of an evaluation beside its outcome.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SubmitOptions {
    /// Gets every piece of output without loss, if the evaluation runs in this process. While the channel is full the
    /// program waits, and its limits run on; a receiver that is dropped disturbs nothing.
    pub output: Option<mpsc::Sender<OutputChunk>>,
}

impl SubmitOptions {
    /// Nothing beside the outcome.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends every piece of output to this channel.
    #[must_use]
    pub fn with_output(mut self, output: mpsc::Sender<OutputChunk>) -> Self {
        self.output = Some(output);
        self
    }
}

impl Shared {
    /// Checks an evaluation without accepting it.
    pub(super) fn check(&self, evaluation: &Evaluation) -> Result<(), SubmitError> {
        let Some(engine) = self.engine(evaluation.engine.as_deref()) else {
            let known: Vec<_> = self.engines.iter().map(|engine| engine.name.as_str()).collect();
            let message = format!(
                "is {:?}; this host has {}",
                evaluation.engine.as_deref().unwrap_or_default(),
                known.join(", ")
            );
            return Err(InvalidInput::single("engine", message).into());
        };
        Plan::new(evaluation, &self.languages)?;
        engine
            .engine
            .info()
            .admit(&evaluation.isolation, &evaluation.network)
            .map_err(|source| SubmitError::Refused { engine: engine.name.clone(), source })
    }

    /// Accepts an evaluation: on the storage first, then in the queue.
    pub(super) async fn submit(
        self: &Arc<Self>,
        evaluation: Evaluation,
        options: SubmitOptions,
    ) -> Result<Handle, SubmitError> {
        if self.stop.is_cancelled() {
            return Err(SubmitError::Closed);
        }
        self.check(&evaluation)?;
        // A queue that is full refuses before anything is stored. What fills up in between is refused below.
        let stats = self.queue.stats().await.map_err(SubmitError::Queue)?;
        if let (true, Some(capacity)) = (stats.is_full(), stats.capacity) {
            return Err(SubmitError::Queue(QueueError::Full { depth: stats.depth(), capacity }));
        }
        let id = EvaluationId::new();
        let evaluation = Arc::new(evaluation);
        let ticket = Ticket::new(id, evaluation.priority, evaluation.tenant.clone());
        self.remember(id, &evaluation, options);
        let kind = EventKind::Submitted { evaluation: Arc::clone(&evaluation) };
        let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
        let mut guard = Unqueued { shared: self, ticket: Some(ticket.clone()) };
        match self.storage.append(id, 0, vec![event.clone()]).await {
            Ok(_) => {}
            Err(error) => {
                guard.ticket = None;
                self.accepted().remove(&id);
                return self.not_stored(&evaluation, error).await;
            }
        }
        self.tell(event).await;
        let queued = self.queue.enqueue(ticket).await;
        guard.ticket = None;
        if let Err(error) = queued {
            self.not_queued(id, &error).await;
            return Err(SubmitError::Queue(error));
        }
        if let Some(expires_in) = evaluation.expires_in {
            expiry::watch(self, id, expires_in);
        }
        Ok(Handle::new(Arc::clone(self), id))
    }

    /// Keeps what must not, or cannot, be stored.
    fn remember(&self, id: EvaluationId, evaluation: &Arc<Evaluation>, options: SubmitOptions) {
        let has_secret = evaluation.env.values().any(|value| matches!(value, crate::EnvValue::Secret(_)));
        if has_secret || options.output.is_some() {
            let accepted = Accepted { evaluation: Arc::clone(evaluation), output: options.output };
            self.accepted().insert(id, accepted);
        }
    }

    /// An idempotency key that is taken gives the evaluation that has it, if that is the same evaluation.
    async fn not_stored(
        self: &Arc<Self>,
        evaluation: &Evaluation,
        error: StorageError,
    ) -> Result<Handle, SubmitError> {
        let StorageError::KeyTaken { key, existing } = error else {
            return Err(SubmitError::Storage(error));
        };
        let record = self.storage.record(existing).await.map_err(SubmitError::Storage)?;
        match record {
            Some(record) if fingerprint(&record.evaluation) == fingerprint(evaluation) => {
                Ok(Handle::new(Arc::clone(self), existing))
            }
            _ => Err(SubmitError::KeyReused { key, existing }),
        }
    }

    /// Marks an evaluation that the queue did not take, so that nobody takes it for accepted.
    async fn not_queued(&self, id: EvaluationId, error: &QueueError) {
        self.accepted().remove(&id);
        let reason = format!("not queued: {}", chain(error));
        let marked = match self.storage.record(id).await {
            Ok(Some(record)) => {
                let kind = cancelled(&reason, &self.engine_name(&record));
                self.commit(&record, vec![kind]).await.map(|_: Record| ())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = marked {
            tracing::error!(%id, %error, "a refused evaluation is still in the storage as queued");
        }
    }
}

/// What makes two evaluations the same. Secrets do not: they are not stored.
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
        self.shared.tasks.spawn(async move {
            let id = ticket.evaluation;
            // It may not have been stored: then the worker that claims the ticket drops it.
            match shared.queue.enqueue(ticket).await {
                Ok(()) | Err(QueueError::Duplicate { .. }) => {}
                Err(error) => shared.not_queued(id, &error).await,
            }
        });
    }
}
