//! Errors of a storage.

use crate::journal::{RecordState, TransitionError};
use crate::model::{BoxError, EvaluationId};

/// The kinds of [`StorageError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// Another writer appended first.
    Conflict,
    /// The idempotency key belongs to another evaluation.
    KeyTaken,
    /// The events do not follow from the record.
    Transition,
    /// The evaluation has not ended.
    NotEnded,
    /// A stored item is corrupt.
    Corrupt,
    /// The storage has no space.
    Full,
    /// The storage's backend is unavailable.
    Unavailable,
    /// The storage refuses to write after a failed write or after corruption.
    Poisoned,
}

/// An error of a storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another writer appended first: the journal does not have the expected length.
    #[error("the journal of evaluation {evaluation} has {actual} entries; expected {expected}")]
    Conflict {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The expected number of entries.
        expected: u64,
        /// The actual number of entries.
        actual: u64,
    },
    /// The tenant's idempotency key belongs to another evaluation.
    #[error("the idempotency key {key:?} belongs to evaluation {existing}")]
    KeyTaken {
        /// The key.
        key: String,
        /// The evaluation with the key.
        existing: EvaluationId,
    },
    /// The events do not follow from the record, or from each other.
    #[error("the events do not fit the record of evaluation {evaluation}")]
    Transition {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The invalid transition.
        #[source]
        source: TransitionError,
    },
    /// The evaluation has not ended, so the storage does not remove it.
    #[error("cannot remove evaluation {evaluation}: it is {state} and has not ended")]
    NotEnded {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Its state.
        state: RecordState,
    },
    /// A stored item is corrupt. Other items remain readable.
    #[error("cannot read {what}")]
    Corrupt {
        /// The item: a record, an entry or a blob, with its id.
        what: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// The storage has no space.
    #[error("the storage is full")]
    Full {
        /// The error of the backend.
        #[source]
        source: Option<BoxError>,
    },
    /// The storage's backend is unavailable. It may become available again.
    #[error("the storage is not available")]
    Unavailable {
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// The storage refuses to write after a failed write or after corruption.
    #[error("the storage is poisoned: {reason}")]
    Poisoned {
        /// The failure.
        reason: String,
    },
}

impl StorageError {
    /// Returns the kind of the error.
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

    /// Returns `true` if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), StorageErrorKind::Full | StorageErrorKind::Unavailable)
    }
}
