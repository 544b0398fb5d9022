//! States of records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordState {
    /// The evaluation waits for a worker.
    Queued,
    /// A worker runs the evaluation.
    Running,
    /// The evaluation ended with a verdict.
    Finished,
    /// All attempts failed because of the infrastructure: a dead letter.
    Failed,
    /// The evaluation was cancelled.
    Cancelled,
    /// No worker started the evaluation in time.
    Expired,
}

impl RecordState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Finished, Self::Failed, Self::Cancelled, Self::Expired];

    /// Returns `true` if no event can follow.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Returns the wire name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error for a text that is not the name of a [`RecordState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a state; states are queued, running, finished, failed, cancelled, expired"
)]
pub struct ParseRecordStateError {
    text: String,
}

impl FromStr for RecordState {
    type Err = ParseRecordStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| ParseRecordStateError { text: text.chars().take(32).collect() })
    }
}
