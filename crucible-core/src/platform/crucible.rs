//! The platform as a host sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

use super::builder::CrucibleBuilder;
use super::error::{EvaluateError, SubmitError};
use super::handle::Handle;
use super::recover::{RecoverError, RecoveryReport};
use super::shared::Shared;
use super::submit::SubmitOptions;
use super::{cancel, expiry, worker};
use crate::bus::{BusError, EventFilter, EventStream};
use crate::engine::{Engine, EngineError, Sandbox, SandboxSpec};
use crate::journal::{Event, Record};
use crate::model::{Digest, Evaluation, EvaluationId, Languages, WorkerId};
use crate::queue::{QueueError, QueueStats};
use crate::result::Outcome;
use crate::storage::{
    RecordOrCorrupt, RecordPage, RecordQuery, Storage, StorageError, StorageExt as _, Verification,
    verify_storage,
};

/// How busy a platform is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlatformStats {
    /// How many evaluations can run at once.
    pub workers: usize,
    /// How many run now, in this process.
    pub running: usize,
    /// How full the queue is.
    pub queue: QueueStats,
}

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// How many evaluations were running when the grace period had passed, and were ended then.
    pub aborted: usize,
    /// How many evaluations wait in the queue; `None` if the queue could not be asked. A durable queue keeps them.
    pub queued: Option<u64>,
}

/// A platform: runs evaluations on engines, keeps what came of them, tells whoever listens.
///
/// Cloning gives another handle on the same platform. Dropping the last one stops it: nothing more is taken from the
/// queue, what runs is ended, tasks and sandboxes go. [`Crucible::shutdown`] does the same in good order.
///
/// It runs on the tokio runtime in which it was built.
#[derive(Debug, Clone)]
pub struct Crucible {
    shared: Arc<Shared>,
    /// Handles and tasks hold `shared`; only owners of the platform hold this.
    _owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop.cancel();
        self.0.abort.cancel();
        self.0.tasks.close();
    }
}

impl Crucible {
    /// Composes a platform.
    #[must_use]
    pub fn builder() -> CrucibleBuilder {
        CrucibleBuilder::new()
    }

    pub(super) fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        for index in 0..shared.config.workers {
            let worker = WorkerId::new(format!("{}/{index}", shared.config.host));
            shared.tasks.spawn(worker::work(Arc::clone(&shared), worker));
        }
        shared.tasks.spawn(expiry::watch(Arc::clone(&shared)));
        tokio::spawn(cancel::listen(Arc::clone(&shared)));
        let watched = Arc::clone(&shared);
        tokio::spawn(async move {
            watched.tasks.wait().await;
            watched.closed.cancel();
        });
        Self { _owner: Arc::new(Owner(Arc::clone(&shared))), shared }
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.shared.storage
    }

    /// Submits an evaluation: returns when it is stored and queued.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation accepted or not accepted.
    ///
    /// # Errors
    /// See [`SubmitError`]: nothing of the evaluation will run.
    pub async fn submit(&self, evaluation: Evaluation) -> Result<Handle, SubmitError> {
        self.shared.submit(evaluation, SubmitOptions::new()).await
    }

    /// Submits an evaluation of which this process wants more than the outcome.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation accepted or not accepted.
    ///
    /// # Errors
    /// See [`SubmitError`]: nothing of the evaluation will run.
    pub async fn submit_with(
        &self,
        evaluation: Evaluation,
        options: SubmitOptions,
    ) -> Result<Handle, SubmitError> {
        self.shared.submit(evaluation, options).await
    }

    /// Submits evaluations one after another, in order; the result has an entry for each.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the first few accepted.
    pub async fn submit_many(
        &self,
        evaluations: impl IntoIterator<Item = Evaluation>,
    ) -> Vec<Result<Handle, SubmitError>> {
        let mut handles = Vec::new();
        for evaluation in evaluations {
            handles.push(self.submit(evaluation).await);
        }
        handles
    }

    /// Submits an evaluation and waits for its outcome.
    ///
    /// # Cancel safety
    /// Dropping the future does not cancel the evaluation: keep a [`Handle`] for that.
    ///
    /// # Errors
    /// See [`EvaluateError`]. Whatever the program did is an [`Outcome`].
    pub async fn evaluate(&self, evaluation: Evaluation) -> Result<Outcome, EvaluateError> {
        Ok(self.submit(evaluation).await?.outcome().await?)
    }

    /// Checks an evaluation as `submit` does, and does nothing with it.
    ///
    /// # Errors
    /// What `submit` would refuse it for.
    pub fn check(&self, evaluation: &Evaluation) -> Result<(), SubmitError> {
        self.shared.check(evaluation)
    }

    /// A handle on an evaluation that was accepted before, here or elsewhere. It is looked up when it is used.
    #[must_use]
    pub fn handle(&self, id: EvaluationId) -> Handle {
        Handle::new(Arc::clone(&self.shared), id)
    }

    /// Opens a sandbox of the first engine, beside the queue: no ticket, no journal, no worker.
    ///
    /// # Errors
    /// See [`Engine::open`].
    pub async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        match self.shared.engine(None) {
            Some(named) => named.engine.open(spec).await,
            None => Err(EngineError::Closed { what: "the platform".to_owned() }),
        }
    }

    /// The engine of this name; the first for `None`.
    #[must_use]
    pub fn engine(&self, name: Option<&str>) -> Option<Arc<dyn Engine>> {
        self.shared.engine(name).map(|named| Arc::clone(&named.engine))
    }

    /// The names of the engines, the default first.
    pub fn engine_names(&self) -> impl Iterator<Item = &str> {
        self.shared.engines.iter().map(|named| named.name.as_str())
    }

    /// The languages that evaluations can ask for.
    #[must_use]
    pub fn languages(&self) -> &Languages {
        &self.shared.languages
    }

    /// The record of an evaluation; `None` if there is none.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.shared.storage.record(id).await
    }

    /// The records that a query asks for, a page at a time.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.shared.storage.records(query).await
    }

    /// Returns all records that match a query, see [`StorageExt::records_stream`].
    pub fn records_stream(
        &self,
        query: RecordQuery,
    ) -> impl Stream<Item = Result<RecordOrCorrupt, StorageError>> + Send + Unpin + '_ {
        self.storage().records_stream(query)
    }

    /// The entries of an evaluation's journal after the one with the sequence `after`.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.shared.storage.journal(id, after).await
    }

    /// The blob with this hash: an artifact's bytes.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.shared.storage.blob(digest).await
    }

    /// Walks everything in the storage: see [`verify_storage`].
    ///
    /// # Errors
    /// The storage is away.
    pub async fn verify(&self) -> Result<Verification, StorageError> {
        verify_storage(self.storage()).await
    }

    /// Listens to what happens from now on, on every host that shares the bus.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        self.shared.bus.subscribe(filter).await
    }

    /// How busy the platform is.
    ///
    /// # Errors
    /// The queue could not be asked.
    pub async fn stats(&self) -> Result<PlatformStats, QueueError> {
        let queue = self.shared.queue.stats().await?;
        let running = self.shared.running().len();
        Ok(PlatformStats { workers: self.shared.config.workers, running, queue })
    }

    /// Brings storage and queue into agreement after a host died: gives every evaluation that has not ended its ticket, if it
    /// has none. A host with durable backends calls this once, after it has built its platform.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of it done; it can be run again at any time.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn recover(&self) -> Result<RecoveryReport, RecoverError> {
        self.shared.recover().await
    }

    /// Stops the platform in good order: takes nothing more from the queue, lets what runs end by itself for `grace`,
    /// then ends it. Evaluations that had not started, or may run twice, go back to the queue.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the platform stopped; what runs is ended when the last `Crucible` is dropped.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let mut aborted = 0;
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            aborted = self.shared.running().len();
            self.shared.abort.cancel();
            self.shared.tasks.wait().await;
        }
        self.shared.closed.cancel();
        let queued = self.shared.queue.stats().await.ok().map(|stats| stats.depth());
        ShutdownReport { aborted, queued }
    }
}
