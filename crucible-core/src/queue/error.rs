//! Errors of a queue.

use crate::model::{BoxError, EvaluationId};

/// The kinds of [`QueueError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// There is no room.
    Full,
    /// The ticket is already in the queue.
    Duplicate,
    /// The claim is no longer held.
    Lost,
    /// What the queue stands on is away.
    Unavailable,
    /// The queue refuses to work after damage.
    Poisoned,
}

/// What can go wrong with a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no room: come back later.
    #[error("the queue is full: {depth} tickets wait, {capacity} may")]
    Full {
        /// How many tickets wait.
        depth: u64,
        /// How many may.
        capacity: u64,
    },
    /// The ticket is already in the queue.
    #[error("evaluation {evaluation} is already in the queue")]
    Duplicate {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The claim is no longer held: its lease ran out, or its ticket was removed.
    #[error("the claim on evaluation {evaluation} is lost")]
    Lost {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// What the queue stands on is away; it may come back.
    #[error("the queue is not available")]
    Unavailable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The queue refuses to work after damage.
    #[error("the queue is poisoned: {reason}")]
    Poisoned {
        /// What was damaged.
        reason: String,
    },
}

impl QueueError {
    /// The kind of error.
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

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), QueueErrorKind::Full | QueueErrorKind::Unavailable)
    }
}
