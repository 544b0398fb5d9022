//! Errors of checkpoints.

use super::statement::VERSION;
use crate::model::EvaluationId;
use crate::storage::StorageError;

/// What is wrong with a checkpoint, or with what it is held against.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Its wire form is of a version that this program does not know.
    #[error("the checkpoint has version {found}; this program knows {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// The signature is not one of this key over this statement.
    #[error("the checkpoint was not signed by key {key}, or was edited since")]
    Signature {
        /// The key that it was held against.
        key: String,
    },
    /// The heads that came with it are not those that it states.
    #[error("the list of {found} heads is not the one that the checkpoint states, of {count}")]
    Heads {
        /// How many it states.
        count: u64,
        /// How many there are.
        found: u64,
    },
    /// A whole journal is missing.
    #[error("the journal of evaluation {evaluation} is missing")]
    Missing {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// A journal is not what it was.
    #[error(
        "entry {sequence} of the journal of evaluation {evaluation} is missing, or not what it was"
    )]
    Changed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The entry.
        sequence: u64,
    },
    /// The storage could not be read.
    #[error("the storage could not be read")]
    Storage(#[from] StorageError),
}
