//! The state that all parts of a platform share.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accepted_evaluations::AcceptedEvaluations;
use super::expiry_queue::ExpiryQueue;
use super::journal_writer::JournalWriter;
use super::running_attempts::RunningAttempts;
use crate::bus::EventBus;
use crate::engine::Engine;
use crate::journal::{EventKind, Record, RecordState};
use crate::model::{EvaluationId, Languages};
use crate::queue::Queue;
use crate::result::{Evidence, Outcome};
use crate::storage::{Storage, StorageError};

/// The numbers and names that configure a platform.
#[derive(Debug, Clone)]
pub(super) struct PlatformConfig {
    /// The name of this host. Worker names start with it.
    pub(super) host: String,
    pub(super) workers: usize,
    /// The time without a renewal after which the queue hands a ticket to another worker.
    pub(super) lease: Duration,
    /// The number of expired leases at which an evaluation becomes a dead letter.
    pub(super) max_expired_leases: u32,
}

/// An engine and the name by which evaluations request it.
#[derive(Debug, Clone)]
pub(super) struct NamedEngine {
    pub(super) name: String,
    pub(super) engine: Arc<dyn Engine>,
}

/// The backends of a platform, its state in this process, and the signals that stop it.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) config: PlatformConfig,
    /// INVARIANT: not empty. The first engine is the default.
    pub(super) engines: Vec<NamedEngine>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) journal: JournalWriter,
    pub(super) languages: Arc<Languages>,
    pub(super) accepted: AcceptedEvaluations,
    pub(super) running: RunningAttempts,
    pub(super) expiry: ExpiryQueue,
    /// The runtime for tasks that must outlive the caller's future.
    pub(super) runtime: Handle,
    /// Cancelled when workers must not claim more tickets.
    pub(super) stop: CancellationToken,
    /// Cancelled when running attempts must end.
    pub(super) abort: CancellationToken,
    /// Cancelled after every task has ended. This process then changes nothing more.
    pub(super) closed: CancellationToken,
    /// The workers and the tasks that finish their work.
    pub(super) tasks: TaskTracker,
}

impl Platform {
    pub(super) fn storage(&self) -> &dyn Storage {
        self.journal.storage()
    }

    pub(super) fn bus(&self) -> &dyn EventBus {
        self.journal.bus()
    }

    /// Returns the engine with this name, or the first one for `None`.
    pub(super) fn engine(&self, name: Option<&str>) -> Option<&NamedEngine> {
        match name {
            Some(name) => self.engines.iter().find(|engine| engine.name == name),
            None => self.engines.first(),
        }
    }

    /// Cancels an evaluation on any host. Returns `false` if it is unknown or has ended.
    pub(super) async fn cancel(&self, id: EvaluationId) -> Result<bool, StorageError> {
        let decide = |record: &Record| match record.state {
            RecordState::Queued => Some(self.cancelled_before_start(record)),
            RecordState::Running if !record.cancel_requested => Some(EventKind::CancelRequested),
            _ => None,
        };
        let Some(append) = self.journal.append_decided(id, decide).await? else { return Ok(false) };
        match append.seen.state {
            RecordState::Queued => self.remove_ticket(id).await,
            RecordState::Running => self.running.cancel(id),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Ends a queued evaluation as expired, unless a worker has started it before.
    pub(super) async fn expire(&self, id: EvaluationId) -> Result<(), StorageError> {
        let decide = |record: &Record| is_unstarted(record).then_some(EventKind::Expired);
        if let Some(append) = self.journal.append_decided(id, decide).await?
            && append.appended
        {
            self.remove_ticket(id).await;
        }
        Ok(())
    }

    /// Removes the ticket of an ended evaluation. A worker drops a ticket that cannot be removed.
    pub(super) async fn remove_ticket(&self, id: EvaluationId) {
        self.accepted.remove(id);
        self.expiry.remove(id);
        if let Err(error) = self.queue.remove(id).await {
            tracing::warn!(%id, %error, "cannot remove the ticket of an ended evaluation");
        }
    }

    /// Returns the event that ends a cancelled evaluation which no engine has run.
    pub(super) fn cancelled_before_start(&self, record: &Record) -> EventKind {
        let engine = self.engine(record.evaluation.engine.as_deref());
        let name = engine.map(|named| named.engine.info().name).unwrap_or_default();
        let outcome = Outcome::new(name, vec![Evidence::CancelledBeforeStart]);
        EventKind::Cancelled { reason: "on request".to_owned(), outcome: Some(outcome.into()) }
    }
}

/// Returns `true` if no worker has ever started the queued evaluation.
pub(super) fn is_unstarted(record: &Record) -> bool {
    record.state == RecordState::Queued && record.attempt == 0
}
