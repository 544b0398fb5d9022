//! Giving dead letters another chance.

use super::crucible::Crucible;
use super::error::SubmitError;
use super::handle::Handle;
use crate::journal::RecordState;
use crate::model::{Evaluation, EvaluationId};
use crate::storage::StorageError;

/// A dead letter was not submitted anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// There is no such evaluation in this storage.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// It is no dead letter.
    #[error("evaluation {evaluation} is {state}: only what has failed can be driven again")]
    NotFailed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Where it stands.
        state: RecordState,
    },
    /// It needs secrets, whose values are not stored.
    #[error("evaluation {evaluation} needs the values of secrets, which are not stored: {}", names.join(", "))]
    SecretLost {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The names of the variables.
        names: Vec<String>,
    },
    /// It was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The storage failed.
    #[error("the evaluation cannot be read")]
    Storage(#[from] StorageError),
}

impl Crucible {
    /// The label of an evaluation that was submitted for a dead letter: its value is the dead letter's id.
    pub const REDRIVE_OF: &'static str = "crucible.redrive_of";

    /// Submits the evaluation of a dead letter anew: as it is, but for the label [`REDRIVE_OF`](Self::REDRIVE_OF), and
    /// without its idempotency key, which stays with the dead letter. The dead letter stays what it is. Each call submits
    /// one more.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation accepted or not accepted.
    ///
    /// # Errors
    /// See [`RedriveError`]: nothing of the evaluation will run again.
    pub async fn redrive(&self, id: EvaluationId) -> Result<Handle, RedriveError> {
        let Some(record) = self.record(id).await? else {
            return Err(RedriveError::Unknown { evaluation: id });
        };
        if record.state != RecordState::Failed {
            return Err(RedriveError::NotFailed { evaluation: id, state: record.state });
        }
        let names: Vec<_> = record.evaluation.lost_secrets().map(str::to_owned).collect();
        if !names.is_empty() {
            return Err(RedriveError::SecretLost { evaluation: id, names });
        }
        let mut evaluation = Evaluation::clone(&record.evaluation);
        evaluation.idempotency_key = None;
        Ok(self.submit(evaluation.with_label(Self::REDRIVE_OF, id.to_string())).await?)
    }
}
