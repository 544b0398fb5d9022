//! The redrive of dead letters.

use super::error::SubmitError;
use crate::journal::{Record, RecordState};
use crate::model::{Evaluation, EvaluationId};
use crate::storage::StorageError;

/// The reason why a dead letter was not submitted again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// The storage has no such evaluation.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The evaluation is not a dead letter.
    #[error("cannot redrive evaluation {evaluation}: it is {state}, not failed")]
    NotFailed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Its state.
        state: RecordState,
    },
    /// The evaluation needs secrets, and their values are not stored.
    #[error(
        "cannot redrive evaluation {evaluation}: the values of its secrets are not stored: {}",
        names.join(", ")
    )]
    SecretLost {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The names of the environment variables.
        names: Vec<String>,
    },
    /// The platform did not accept the new evaluation.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The storage failed.
    #[error("cannot read the evaluation")]
    Storage(#[from] StorageError),
}

/// Returns the evaluation to submit for a dead letter: without its idempotency key, and with the id
/// of the dead letter as `label`.
pub(super) fn redriven(record: &Record, label: &str) -> Result<Evaluation, RedriveError> {
    let id = record.id;
    if record.state != RecordState::Failed {
        return Err(RedriveError::NotFailed { evaluation: id, state: record.state });
    }
    let names: Vec<_> = record.evaluation.lost_secrets().map(str::to_owned).collect();
    if !names.is_empty() {
        return Err(RedriveError::SecretLost { evaluation: id, names });
    }
    let mut evaluation = Evaluation::clone(&record.evaluation);
    evaluation.idempotency_key = None;
    Ok(evaluation.with_label(label, id.to_string()))
}
