//! Crucible for hosts without tokio: tests, scripts, synchronous programs.
//!
//! Everything here blocks the calling thread, and runs a small tokio runtime inside. From within a tokio runtime it works
//! too, and blocks that runtime's thread: use [`crate::Crucible`] there.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use crucible::Evaluation;
//! use crucible::blocking::Crucible;
//!
//! let crucible = Crucible::new()?;
//! let outcome = crucible.evaluate(Evaluation::shell("exit 3"))?;
//! assert_eq!(outcome.verdict().to_string(), "exited 3");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::{
    BuildError, CrucibleBuilder, EngineError, EvaluateError, Evaluation, EvaluationId, Outcome,
    PlatformStats, QueueError, Record, ShutdownReport, StorageError, SubmitError, WaitError,
};

/// How long dropping the last [`Crucible`] waits for what runs to be ended.
const DROP_WAIT: Duration = Duration::from_secs(10);

/// A platform cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The machine gives no threads for a runtime.
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    /// The engine cannot be made.
    #[error("the engine cannot be made")]
    Engine(#[source] EngineError),
    /// The platform cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A platform with a runtime of its own. Cheap to clone; ended with its last clone and its last [`Handle`].
#[derive(Clone)]
pub struct Crucible {
    inner: Arc<Inner>,
}

struct Inner {
    platform: crate::Crucible,
    handle: tokio::runtime::Handle,
    /// Taken when this is dropped: a runtime must not be dropped where blocking is not allowed.
    runtime: Option<Runtime>,
}

impl Inner {
    /// Runs a future to its end, on a thread of its own if this one belongs to a runtime already.
    fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        if tokio::runtime::Handle::try_current().is_err() {
            return self.handle.block_on(future);
        }
        std::thread::scope(|scope| match scope.spawn(|| self.handle.block_on(future)).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What runs is ended at once, and its sandboxes are closed; a stuck one does not hold up the host.
        let platform = self.platform.clone();
        let ended = self.block_on(async move {
            tokio::time::timeout(DROP_WAIT, platform.shutdown(Duration::ZERO)).await
        });
        if ended.is_err() {
            tracing::warn!("a platform did not end in time");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Crucible {
    /// A platform with a [`SubprocessEngine`](crate::SubprocessEngine), a queue of 10,000 places and a storage in memory,
    /// and as many workers as there are CPUs.
    ///
    /// # Errors
    /// See [`StartError`].
    #[cfg(all(feature = "subprocess", feature = "memory"))]
    pub fn new() -> Result<Self, StartError> {
        let engine = crate::SubprocessEngine::new().map_err(StartError::Engine)?;
        Self::build(
            CrucibleBuilder::new()
                .engine("sandbox", engine)
                .queue(crate::MemoryQueue::bounded(10_000))
                .storage(crate::MemoryStorage::new()),
        )
    }

    /// Builds a platform, and a runtime for it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn build(builder: CrucibleBuilder) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("crucible")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let handle = runtime.handle().clone();
        let platform = {
            let _within = handle.enter();
            builder.build()?
        };
        Ok(Self { inner: Arc::new(Inner { platform, handle, runtime: Some(runtime) }) })
    }

    /// Submits an evaluation.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit(&self, evaluation: Evaluation) -> Result<Handle, SubmitError> {
        let handle = self.inner.block_on(self.inner.platform.submit(evaluation))?;
        Ok(Handle { inner: Arc::clone(&self.inner), handle })
    }

    /// Submits an evaluation and waits for its outcome.
    ///
    /// # Errors
    /// See [`EvaluateError`].
    pub fn evaluate(&self, evaluation: Evaluation) -> Result<Outcome, EvaluateError> {
        self.inner.block_on(self.inner.platform.evaluate(evaluation))
    }

    /// The record of an evaluation; `None` if there is none.
    ///
    /// # Errors
    /// The storage failed.
    pub fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.inner.block_on(self.inner.platform.record(id))
    }

    /// How busy the platform is.
    ///
    /// # Errors
    /// The queue could not be asked.
    pub fn stats(&self) -> Result<PlatformStats, QueueError> {
        self.inner.block_on(self.inner.platform.stats())
    }

    /// Stops the platform in good order, see [`crate::Crucible::shutdown`].
    pub fn shutdown(&self, grace: Duration) -> ShutdownReport {
        self.inner.block_on(self.inner.platform.shutdown(grace))
    }
}

impl fmt::Debug for Crucible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("blocking::Crucible")
            .field("platform", &self.inner.platform)
            .finish_non_exhaustive()
    }
}

/// An accepted evaluation. Dropping it cancels nothing.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
    handle: crate::Handle,
}

impl Handle {
    /// The evaluation's id.
    #[must_use]
    pub fn id(&self) -> EvaluationId {
        self.handle.id()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait(&self) -> Result<Outcome, WaitError> {
        self.inner.block_on(self.handle.outcome())
    }

    /// Where the evaluation stands.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn status(&self) -> Result<Record, WaitError> {
        self.inner.block_on(self.handle.status())
    }

    /// Cancels the evaluation. `false` if it had already ended.
    ///
    /// # Errors
    /// The storage failed.
    pub fn cancel(&self) -> Result<bool, StorageError> {
        self.inner.block_on(self.handle.cancel())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
