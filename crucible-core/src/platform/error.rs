//! The errors of submitting and waiting.

use crate::engine::EngineError;
use crate::model::{ErrorReport, EvaluationId, InvalidInput};
use crate::queue::QueueError;
use crate::storage::StorageError;

/// The reason why the platform did not accept an evaluation. No part of it will run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The evaluation is not valid.
    #[error("the evaluation is not valid")]
    Invalid(#[from] InvalidInput),
    /// The engine cannot enforce the requirements of the evaluation.
    #[error("engine `{engine}` refuses the evaluation")]
    Refused {
        /// The name of the engine in this platform.
        engine: String,
        /// The reason.
        #[source]
        source: EngineError,
    },
    /// The idempotency key belongs to a different evaluation.
    #[error("the idempotency key {key:?} was used for another evaluation, {existing}")]
    KeyReused {
        /// The key.
        key: String,
        /// The evaluation that holds it.
        existing: EvaluationId,
    },
    /// The queue is full or unavailable.
    #[error("cannot queue the evaluation")]
    Queue(#[source] QueueError),
    /// The storage failed.
    #[error("cannot store the evaluation")]
    Storage(#[source] StorageError),
    /// The platform is shutting down.
    #[error("the platform is shut down")]
    Closed,
}

impl SubmitError {
    /// Returns `true` if the same call may succeed later.
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

/// The reason why an accepted evaluation has no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The infrastructure failed permanently: the evaluation is a dead letter.
    #[error("evaluation {evaluation} failed: {report}")]
    Failed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The failure.
        report: ErrorReport,
    },
    /// No worker started the evaluation in time.
    #[error("evaluation {evaluation} expired before a worker took it")]
    Expired {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The evaluation was stored but not queued, so the platform did not accept it. No part of it
    /// has run or will run.
    #[error("evaluation {evaluation} was not accepted: {reason}")]
    NotAccepted {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The reason.
        reason: String,
    },
    /// The storage has no such evaluation.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The platform was shut down before the evaluation ended.
    #[error("the platform was shut down before evaluation {evaluation} ended")]
    Closed {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The storage failed.
    #[error("cannot read the state of the evaluation")]
    Storage(#[from] StorageError),
}

/// The reason why [`Crucible::evaluate`](crate::Crucible::evaluate) returned no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The platform did not accept the evaluation.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The platform accepted the evaluation, but there is no outcome.
    #[error(transparent)]
    Wait(#[from] WaitError),
}
