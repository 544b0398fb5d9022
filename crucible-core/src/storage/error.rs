//! Errors of a storage.

use crate::journal::{RecordState, TransitionError};
use crate::model::{BoxError, EvaluationId};

/// The kinds of [`StorageError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// Somebody else wrote first.
    Conflict,
    /// The idempotency key belongs to another evaluation.
    KeyTaken,
    /// The events do not follow from the record.
    Transition,
    /// The evaluation has not ended.
    NotEnded,
    /// Something stored cannot be read.
    Corrupt,
    /// There is no room.
    Full,
    /// What the storage stands on is away.
    Unavailable,
    /// The storage refuses to write after damage.
    Poisoned,
}

/// What can go wrong with a storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Somebody else wrote first: the journal does not have the expected length.
    #[error(
        "the journal of evaluation {evaluation} has {actual} entries where {expected} were expected"
    )]
    Conflict {
        /// The evaluation.
        evaluation: EvaluationId,
        /// How many entries were expected.
        expected: u64,
        /// How many there are.
        actual: u64,
    },
    /// The tenant's idempotency key belongs to another evaluation.
    #[error("the idempotency key {key:?} belongs to evaluation {existing}")]
    KeyTaken {
        /// The key.
        key: String,
        /// The evaluation that has it.
        existing: EvaluationId,
    },
    /// The events do not follow from the record, or from one another.
    #[error("the events do not fit the record of evaluation {evaluation}")]
    Transition {
        /// The evaluation.
        evaluation: EvaluationId,
        /// In what way.
        #[source]
        source: TransitionError,
    },
    /// The evaluation has not ended, so it is not removed.
    #[error("evaluation {evaluation} is {state}: only what has ended can be removed")]
    NotEnded {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Where it stands.
        state: RecordState,
    },
    /// Something stored cannot be read. Everything else still can.
    #[error("{what} cannot be read")]
    Corrupt {
        /// What: a record, an entry, a blob, by name.
        what: String,
        /// Why.
        #[source]
        source: Option<BoxError>,
    },
    /// There is no room.
    #[error("the storage is full")]
    Full {
        /// What said so.
        #[source]
        source: Option<BoxError>,
    },
    /// What the storage stands on is away; it may come back.
    #[error("the storage is not available")]
    Unavailable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The storage refuses to write after damage.
    #[error("the storage is poisoned: {reason}")]
    Poisoned {
        /// What was damaged.
        reason: String,
    },
}

impl StorageError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            Self::Conflict { .. } => StorageErrorKind::Conflict,
            Self::KeyTaken { .. } => StorageErrorKind::KeyTaken,
            Self::Transition { .. } => StorageErrorKind::Transition,
            Self::NotEnded { .. } => StorageErrorKind::NotEnded,
            Self::Corrupt { .. } => StorageErrorKind::Corrupt,
            Self::Full { .. } => StorageErrorKind::Full,
            Self::Unavailable { .. } => StorageErrorKind::Unavailable,
            Self::Poisoned { .. } => StorageErrorKind::Poisoned,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), StorageErrorKind::Full | StorageErrorKind::Unavailable)
    }
}
