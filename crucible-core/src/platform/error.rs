//! What can go wrong between a caller and the platform.

use crate::engine::EngineError;
use crate::model::{ErrorReport, EvaluationId, InvalidInput};
use crate::queue::QueueError;
use crate::storage::StorageError;

/// An evaluation was not accepted. Nothing of it will run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The evaluation is not valid.
    #[error("the evaluation is not valid")]
    Invalid(#[from] InvalidInput),
    /// Its engine cannot enforce what it asks for.
    #[error("engine `{engine}` refuses the evaluation")]
    Refused {
        /// The engine, as the platform knows it.
        engine: String,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The idempotency key was used for another evaluation.
    #[error("the idempotency key {key:?} was used for another evaluation, {existing}")]
    KeyReused {
        /// The key.
        key: String,
        /// The evaluation that has it.
        existing: EvaluationId,
    },
    /// The queue did not take it: it is full, or away.
    #[error("the evaluation was not queued")]
    Queue(#[source] QueueError),
    /// The storage did not take it.
    #[error("the evaluation was not stored")]
    Storage(#[source] StorageError),
    /// The platform is shutting down.
    #[error("the platform is shut down")]
    Closed,
}

impl SubmitError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Queue(error) => error.is_retryable(),
            Self::Storage(error) => error.is_retryable(),
            Self::Refused { source, .. } => source.is_retryable(),
            Self::Invalid(_) | Self::KeyReused { .. } | Self::Closed => false,
        }
    }
}

/// An accepted evaluation has no outcome to give.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The infrastructure gave up: the evaluation is a dead letter.
    #[error("evaluation {evaluation} failed: {report}")]
    Failed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Why.
        report: ErrorReport,
    },
    /// Nobody took it in time.
    #[error("evaluation {evaluation} expired before a worker took it")]
    Expired {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// It was stored, and then not queued: it was never accepted, and nothing of it has run or will.
    #[error("evaluation {evaluation} was not accepted: {reason}")]
    NotAccepted {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Why.
        reason: String,
    },
    /// There is no such evaluation in this storage.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The platform was shut down before the evaluation had ended.
    #[error("the platform was shut down before evaluation {evaluation} had ended")]
    Closed {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The storage failed.
    #[error("the state of the evaluation cannot be read")]
    Storage(#[from] StorageError),
}

/// An evaluation came to no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// It was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It was accepted, and has no outcome to give.
    #[error(transparent)]
    Wait(#[from] WaitError),
}
