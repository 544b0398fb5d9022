//! Errors of a queue.

use crate::model::{BoxError, EvaluationId};

/// The kinds of [`QueueError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// The queue is full.
    Full,
    /// The ticket is already in the queue.
    Duplicate,
    /// The claim has expired.
    Lost,
    /// The queue's backend is unavailable.
    Unavailable,
    /// The queue stopped after a failed write or after corruption.
    Poisoned,
}

/// An error of a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The queue is full. Retry later.
    #[error("the queue is full: {depth} of {capacity} tickets")]
    Full {
        /// The number of waiting tickets.
        depth: u64,
        /// The maximum.
        capacity: u64,
    },
    /// The ticket is already in the queue.
    #[error("evaluation {evaluation} is already in the queue")]
    Duplicate {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The claim is lost: its lease expired, or its ticket was removed.
    #[error("the claim on evaluation {evaluation} is lost")]
    Lost {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The queue's backend is unavailable. It may become available again.
    #[error("the queue is not available")]
    Unavailable {
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// The queue stopped after a failed write or after corruption.
    #[error("the queue is poisoned: {reason}")]
    Poisoned {
        /// The failure.
        reason: String,
    },
}

impl QueueError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> QueueErrorKind {
        match self {
            Self::Full { .. } => QueueErrorKind::Full,
            Self::Duplicate { .. } => QueueErrorKind::Duplicate,
            Self::Lost { .. } => QueueErrorKind::Lost,
            Self::Unavailable { .. } => QueueErrorKind::Unavailable,
            Self::Poisoned { .. } => QueueErrorKind::Poisoned,
        }
    }

    /// Returns `true` if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), QueueErrorKind::Full | QueueErrorKind::Unavailable)
    }
}
