//! Errors of a durable queue.

use crucible_core::QueueError;
use crucible_kv::{KvError, WriteError};

/// An error while a queue is opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueOpenError {
    /// A later version wrote the queue.
    #[error("the queue has format {found}, the newest supported format is {supported}")]
    TooNew {
        /// The format of the queue.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The store cannot be read or written.
    #[error("cannot open the queue's store")]
    Map(#[source] KvError),
}

impl From<WriteError<Self>> for QueueOpenError {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Aborted(error) => error,
            WriteError::Store(error) => Self::Map(error),
        }
    }
}

impl From<KvError> for QueueOpenError {
    fn from(error: KvError) -> Self {
        Self::Map(error)
    }
}

/// The reason why a change of tickets was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TicketWriteError {
    /// The tickets were reloaded from the store since the change. The caller may retry.
    #[error("an earlier write failed: the result of this call is unknown")]
    Reloaded,
    /// The ticket cannot be encoded.
    #[error("cannot encode the ticket")]
    Encode(#[source] serde_json::Error),
    /// The store failed.
    #[error(transparent)]
    Map(KvError),
}

/// Converts an error of the store. A full disk is [`QueueError::Unavailable`], because
/// [`QueueError::Full`] refers to the capacity for tickets.
pub(super) fn queue_error(error: KvError) -> QueueError {
    match error {
        KvError::Poisoned { reason } => QueueError::Poisoned { reason: reason.to_string() },
        other => QueueError::Unavailable { source: other.into() },
    }
}

/// Converts the error of a write to the store.
pub(super) fn queue_error_of_write(error: WriteError<TicketWriteError>) -> QueueError {
    match error {
        WriteError::Aborted(TicketWriteError::Map(error)) | WriteError::Store(error) => {
            queue_error(error)
        }
        WriteError::Aborted(error) => QueueError::Unavailable { source: error.into() },
    }
}
