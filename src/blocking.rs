//! The platform for hosts without tokio: tests, scripts, synchronous programs.
//!
//! Each call blocks the calling thread while a small tokio runtime does the work. Calls from within
//! a tokio runtime work too, but block a thread of that runtime. There, use [`crate::Crucible`].
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

use crate::engine::EngineError;
use crate::journal::Record;
use crate::model::{Evaluation, EvaluationId};
use crate::platform::{
    BuildError, CrucibleBuilder, EvaluateError, PlatformStats, ShutdownReport, SubmitError,
    WaitError,
};
use crate::queue::QueueError;
use crate::result::Outcome;
use crate::storage::StorageError;

/// The time that dropping the last [`Crucible`] waits for running evaluations to end.
const DROP_WAIT: Duration = Duration::from_secs(10);

/// The number of threads of the runtime. They move data between the workers and the sandboxes, so
/// two are enough for any number of workers.
const RUNTIME_THREADS: usize = 2;

/// An error from starting a platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The runtime cannot start its threads.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    /// The engine cannot start.
    #[error("cannot start the engine")]
    Engine(#[source] EngineError),
    /// The parts of the platform do not fit together.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A platform with a runtime of its own.
///
/// It is cheap to clone. It shuts down when its last clone and its last [`Handle`] are dropped.
#[derive(Clone)]
pub struct Crucible {
    inner: Arc<PlatformOnRuntime>,
}

/// A platform and the runtime that it runs on.
struct PlatformOnRuntime {
    platform: crate::Crucible,
    handle: tokio::runtime::Handle,
    /// `None` only during drop: a runtime must not be dropped where blocking is not allowed.
    runtime: Option<Runtime>,
}

impl PlatformOnRuntime {
    /// Runs a future to its end, on a new thread if this thread belongs to a runtime.
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

impl Drop for PlatformOnRuntime {
    fn drop(&mut self) {
        // Ends running evaluations immediately and closes their sandboxes. The bound keeps a stuck
        // sandbox from blocking the host.
        let platform = self.platform.clone();
        let ended = self.block_on(async move {
            tokio::time::timeout(DROP_WAIT, platform.shutdown(Duration::ZERO)).await
        });
        if ended.is_err() {
            tracing::warn!("the platform did not shut down in time");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Crucible {
    /// Starts a platform with a [`SubprocessEngine`](crate::SubprocessEngine), a queue of 10,000
    /// tickets and a storage in memory, and one worker per CPU.
    ///
    /// # Errors
    /// Returns a [`StartError`] if this host cannot isolate programs or has no threads left.
    #[cfg(all(feature = "subprocess", feature = "memory"))]
    pub fn new() -> Result<Self, StartError> {
        let engine = crate::SubprocessEngine::new().map_err(StartError::Engine)?;
        Self::build(
            crate::Crucible::builder()
                .engine("sandbox", engine)
                .queue(crate::MemoryQueue::bounded(10_000))
                .storage(crate::MemoryStorage::new()),
        )
    }

    /// Builds a platform and starts a runtime for it.
    ///
    /// # Errors
    /// Returns a [`StartError`] if a part is missing or the host has no threads left.
    pub fn build(builder: CrucibleBuilder) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("crucible")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let handle = runtime.handle().clone();
        let platform = {
            let _entered = handle.enter();
            builder.build()?
        };
        let runtime = Some(runtime);
        Ok(Self { inner: Arc::new(PlatformOnRuntime { platform, handle, runtime }) })
    }

    /// Submits an evaluation.
    ///
    /// # Errors
    /// Returns a [`SubmitError`] if the evaluation is invalid or was not accepted.
    pub fn submit(&self, evaluation: Evaluation) -> Result<Handle, SubmitError> {
        let handle = self.inner.block_on(self.inner.platform.submit(evaluation))?;
        Ok(Handle { inner: Arc::clone(&self.inner), handle })
    }

    /// Submits an evaluation and waits for its outcome.
    ///
    /// # Errors
    /// Returns an [`EvaluateError`] if the evaluation was not accepted or has no outcome.
    pub fn evaluate(&self, evaluation: Evaluation) -> Result<Outcome, EvaluateError> {
        self.inner.block_on(self.inner.platform.evaluate(evaluation))
    }

    /// Returns the record of an evaluation, or `None` if it does not exist.
    ///
    /// # Errors
    /// Returns a [`StorageError`] if the storage fails.
    pub fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.inner.block_on(self.inner.platform.record(id))
    }

    /// Returns the load of the platform.
    ///
    /// # Errors
    /// Returns a [`QueueError`] if the queue fails.
    pub fn stats(&self) -> Result<PlatformStats, QueueError> {
        self.inner.block_on(self.inner.platform.stats())
    }

    /// Shuts the platform down; see [`crate::Crucible::shutdown`].
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

/// An accepted evaluation. Dropping the handle does not cancel the evaluation.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<PlatformOnRuntime>,
    handle: crate::Handle,
}

impl Handle {
    /// Returns the id of the evaluation.
    #[must_use]
    pub fn id(&self) -> EvaluationId {
        self.handle.id()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// Returns a [`WaitError`] if the evaluation has no outcome.
    pub fn wait(&self) -> Result<Outcome, WaitError> {
        self.inner.block_on(self.handle.outcome())
    }

    /// Returns the record of the evaluation.
    ///
    /// # Errors
    /// Returns a [`WaitError`] if the storage fails.
    pub fn status(&self) -> Result<Record, WaitError> {
        self.inner.block_on(self.handle.status())
    }

    /// Cancels the evaluation. Returns `false` if it had already ended.
    ///
    /// # Errors
    /// Returns a [`StorageError`] if the storage fails.
    pub fn cancel(&self) -> Result<bool, StorageError> {
        self.inner.block_on(self.handle.cancel())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
