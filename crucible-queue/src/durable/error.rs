//! What can go wrong with a durable queue.

use crucible_core::QueueError;
use crucible_kv::{KvError, WriteError};

/// A queue could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It was written by a later version.
    #[error("the queue has format {found}, and {supported} is the newest that can be read")]
    TooNew {
        /// The format that it has.
        found: u32,
        /// The newest that can be read.
        supported: u32,
    },
    /// Its map cannot be read or written.
    #[error("the map of the queue cannot be opened")]
    Map(#[source] KvError),
}

impl From<WriteError<Self>> for OpenError {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Aborted(error) => error,
            WriteError::Store(error) => Self::Map(error),
        }
    }
}

/// Why a ticket was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// The tickets were read from the map again since: whoever asked may ask again.
    #[error("a write before it failed; what became of the call is not known")]
    ReadAgain,
    /// It cannot be encoded.
    #[error("the ticket cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The map failed.
    #[error(transparent)]
    Map(KvError),
}

/// A map without room is away for the queue: its own `Full` is about tickets.
pub(super) fn of_map(error: KvError) -> QueueError {
    match error {
        KvError::Poisoned { reason } => QueueError::Poisoned { reason: reason.to_string() },
        other => QueueError::Unavailable { source: other.into() },
    }
}

pub(super) fn of_write(error: WriteError<Unwritten>) -> QueueError {
    match error {
        WriteError::Aborted(Unwritten::Map(error)) | WriteError::Store(error) => of_map(error),
        WriteError::Aborted(error) => QueueError::Unavailable { source: error.into() },
    }
}
