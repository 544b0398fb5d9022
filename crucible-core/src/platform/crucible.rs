//! The platform's public interface.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

use super::builder::CrucibleBuilder;
use super::cancel_listener::CancelListener;
use super::error::{EvaluateError, SubmitError};
use super::expirer::Expirer;
use super::handle::Handle;
use super::platform::Platform;
use super::purge::{PurgeError, PurgeReport, Retention, purge_storage};
use super::recovery::{self, RecoverError, RecoveryReport};
use super::redrive::{RedriveError, redriven};
use super::submit::{self, SubmitOptions};
use super::worker::Worker;
use crate::bus::{BusError, EventFilter, EventStream};
use crate::engine::{Engine, EngineError, Sandbox, SandboxSpec};
use crate::journal::{Event, Record};
use crate::model::{Digest, Evaluation, EvaluationId, Languages, WorkerId};
use crate::queue::{QueueError, QueueStats};
use crate::result::Outcome;
use crate::storage::{
    RecordOrCorrupt, RecordPage, RecordQuery, StorageError, StorageExt as _, Verification,
    verify_storage,
};

/// The load of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlatformStats {
    /// The number of evaluations that can run at the same time.
    pub workers: usize,
    /// The number of evaluations that run in this process now.
    pub running: usize,
    /// The number of tickets in the queue, by state.
    pub queue: QueueStats,
}

/// The result of a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of evaluations that the shutdown ended after the grace period.
    pub aborted: usize,
    /// The number of evaluations that wait in the queue, or `None` if the queue did not answer. A
    /// durable queue keeps them.
    pub queued: Option<u64>,
}

/// A platform: runs evaluations on engines, stores their results, and publishes events.
///
/// Cloning returns another handle to the same platform. Dropping the last handle stops it: workers
/// claim no more tickets, and running evaluations end with their sandboxes. [`Crucible::shutdown`]
/// does the same and waits for it.
///
/// A platform uses the tokio runtime in which it was built.
#[derive(Debug, Clone)]
pub struct Crucible {
    platform: Arc<Platform>,
    /// Evaluation handles and tasks hold `platform`. Only handles to the platform hold this.
    _stop: Arc<StopOnDrop>,
}

#[derive(Debug)]
struct StopOnDrop(Arc<Platform>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.cancel();
        self.0.abort.cancel();
        self.0.tasks.close();
    }
}

impl Crucible {
    /// The label of an evaluation that was submitted for a dead letter. Its value is the id of the
    /// dead letter.
    pub const REDRIVE_OF: &'static str = "crucible.redrive_of";

    /// Returns a builder for a platform.
    #[must_use]
    pub fn builder() -> CrucibleBuilder {
        CrucibleBuilder::new()
    }

    pub(super) fn start(platform: Platform) -> Self {
        let platform = Arc::new(platform);
        for index in 0..platform.config.workers {
            let id = WorkerId::new(format!("{}/{index}", platform.config.host));
            platform.tasks.spawn(Worker::new(Arc::clone(&platform), id).run());
        }
        platform.tasks.spawn(Expirer(Arc::clone(&platform)).run());
        tokio::spawn(CancelListener::new(Arc::clone(&platform)).run());
        let watched = Arc::clone(&platform);
        tokio::spawn(async move {
            watched.tasks.wait().await;
            watched.closed.cancel();
        });
        Self { _stop: Arc::new(StopOnDrop(Arc::clone(&platform))), platform }
    }

    /// Submits an evaluation. Returns when the evaluation is stored and queued.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation either accepted or not accepted.
    ///
    /// # Errors
    /// See [`SubmitError`]: no part of the evaluation will run.
    pub async fn submit(&self, evaluation: Evaluation) -> Result<Handle, SubmitError> {
        self.submit_with(evaluation, SubmitOptions::new()).await
    }

    /// Submits an evaluation with options, such as a channel for live output.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation either accepted or not accepted.
    ///
    /// # Errors
    /// See [`SubmitError`]: no part of the evaluation will run.
    pub async fn submit_with(
        &self,
        evaluation: Evaluation,
        options: SubmitOptions,
    ) -> Result<Handle, SubmitError> {
        submit::submit(&self.platform, evaluation, options).await
    }

    /// Submits evaluations one after another. Returns one result per evaluation, in the same order.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the first evaluations accepted.
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
    /// Dropping the future does not cancel the evaluation. Use a [`Handle`] to cancel it.
    ///
    /// # Errors
    /// See [`EvaluateError`]. Everything that the program does is an [`Outcome`], not an error.
    pub async fn evaluate(&self, evaluation: Evaluation) -> Result<Outcome, EvaluateError> {
        Ok(self.submit(evaluation).await?.outcome().await?)
    }

    /// Submits the evaluation of a dead letter again. Each call submits one more evaluation.
    ///
    /// The new evaluation has the label [`REDRIVE_OF`](Self::REDRIVE_OF) and no idempotency key.
    /// The dead letter keeps its state and its key.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation either accepted or not accepted.
    ///
    /// # Errors
    /// See [`RedriveError`]: no part of the evaluation will run again.
    pub async fn redrive(&self, id: EvaluationId) -> Result<Handle, RedriveError> {
        let record = self.record(id).await?;
        let record = record.ok_or(RedriveError::Unknown { evaluation: id })?;
        Ok(self.submit(redriven(&record, Self::REDRIVE_OF)?).await?)
    }

    /// Checks an evaluation like [`submit`](Self::submit), but does not submit it.
    ///
    /// # Errors
    /// Returns the error with which `submit` would refuse the evaluation.
    pub fn check(&self, evaluation: &Evaluation) -> Result<(), SubmitError> {
        submit::check(&self.platform, evaluation)
    }

    /// Returns a handle to an evaluation that this or another host accepted before.
    ///
    /// The handle reads the storage when it is used.
    #[must_use]
    pub fn handle(&self, id: EvaluationId) -> Handle {
        Handle::new(Arc::clone(&self.platform), id)
    }

    /// Opens a sandbox of the first engine, without queue, journal and worker.
    ///
    /// # Errors
    /// See [`Engine::open`].
    pub async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        match self.platform.engine(None) {
            Some(named) => named.engine.open(spec).await,
            None => Err(EngineError::Closed { what: "the platform".to_owned() }),
        }
    }

    /// Returns the engine with this name, or the first one for `None`.
    #[must_use]
    pub fn engine(&self, name: Option<&str>) -> Option<Arc<dyn Engine>> {
        self.platform.engine(name).map(|named| Arc::clone(&named.engine))
    }

    /// Returns the names of the engines, the default first.
    pub fn engine_names(&self) -> impl Iterator<Item = &str> {
        self.platform.engines.iter().map(|named| named.name.as_str())
    }

    /// Returns the languages that evaluations can use.
    #[must_use]
    pub fn languages(&self) -> &Languages {
        &self.platform.languages
    }

    /// Returns the record of an evaluation, or `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if the storage fails.
    pub async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.platform.storage().record(id).await
    }

    /// Returns one page of the records that match a query.
    ///
    /// # Errors
    /// Returns an error if the storage fails.
    pub async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.platform.storage().records(query).await
    }

    /// Returns all records that match a query. See [`StorageExt`](crate::StorageExt).
    pub fn records_stream(
        &self,
        query: RecordQuery,
    ) -> impl Stream<Item = Result<RecordOrCorrupt, StorageError>> + Send + Unpin + '_ {
        self.platform.storage().records_stream(query)
    }

    /// Returns the journal entries of an evaluation after the one with the sequence `after`.
    ///
    /// # Errors
    /// Returns an error if the storage fails.
    pub async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.platform.storage().journal(id, after).await
    }

    /// Returns the blob with this hash, for example the content of an artifact.
    ///
    /// # Errors
    /// Returns an error if the storage fails.
    pub async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.platform.storage().blob(digest).await
    }

    /// Verifies everything in the storage. See [`verify_storage`].
    ///
    /// # Errors
    /// Returns an error if the storage is unavailable.
    pub async fn verify(&self) -> Result<Verification, StorageError> {
        verify_storage(self.platform.storage()).await
    }

    /// Removes ended evaluations. See [`purge_storage`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves some evaluations removed.
    ///
    /// # Errors
    /// See [`PurgeError`].
    pub async fn purge(&self, retention: &Retention) -> Result<PurgeReport, PurgeError> {
        purge_storage(self.platform.storage(), retention).await
    }

    /// Subscribes to the events of every host that shares the bus, from now on.
    ///
    /// # Errors
    /// Returns an error if the bus is unavailable.
    pub async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        self.platform.bus().subscribe(filter).await
    }

    /// Returns the load of the platform.
    ///
    /// # Errors
    /// Returns an error if the queue fails.
    pub async fn stats(&self) -> Result<PlatformStats, QueueError> {
        let queue = self.platform.queue.stats().await?;
        let running = self.platform.running.len();
        Ok(PlatformStats { workers: self.platform.config.workers, running, queue })
    }

    /// Enqueues every evaluation that has not ended and has no ticket, because a host died.
    ///
    /// A host with durable backends calls this once after it has built its platform.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some tickets restored. The caller can run it again at any time.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn recover(&self) -> Result<RecoveryReport, RecoverError> {
        recovery::recover(&self.platform).await
    }

    /// Stops the platform: claims no more tickets, waits up to `grace` for running evaluations, and
    /// then ends them. Evaluations that had not started, or may run twice, return to the queue.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the platform stopped. Running evaluations end when the last
    /// `Crucible` is dropped.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let platform = &self.platform;
        platform.stop.cancel();
        platform.tasks.close();
        let mut aborted = 0;
        if tokio::time::timeout(grace, platform.tasks.wait()).await.is_err() {
            aborted = platform.running.len();
            platform.abort.cancel();
            platform.tasks.wait().await;
        }
        platform.closed.cancel();
        let queued = platform.queue.stats().await.ok().map(|stats| stats.depth());
        ShutdownReport { aborted, queued }
    }
}
