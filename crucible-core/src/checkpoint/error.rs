//! Errors of checkpoints.

use crate::model::EvaluationId;
use crate::storage::StorageError;

/// The version of the wire form.
pub(super) const VERSION: u32 = 1;

/// A problem of a checkpoint, or of the data that it is compared with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The wire form has a version that this build does not know.
    #[error("the checkpoint has version {found}; this build reads version {VERSION}")]
    Version {
        /// The version of the checkpoint.
        found: u32,
    },
    /// The signature does not match the key and the statement.
    #[error("the checkpoint was not signed by key {key}, or was edited")]
    Signature {
        /// The key.
        key: String,
    },
    /// The heads do not match the checkpoint.
    #[error("the list of {found} heads does not match the checkpoint, which covers {count}")]
    Heads {
        /// The number of heads that the checkpoint covers.
        count: u64,
        /// The number of heads in the list.
        found: u64,
    },
    /// A whole journal is missing.
    #[error("the journal of evaluation {evaluation} is missing")]
    Missing {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// A journal has changed.
    #[error("entry {sequence} of the journal of evaluation {evaluation} is missing or was edited")]
    Changed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The entry.
        sequence: u64,
    },
    /// The storage could not be read.
    #[error("cannot read the storage")]
    Storage(#[from] StorageError),
}
