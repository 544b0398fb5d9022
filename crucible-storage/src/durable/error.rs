//! Errors of a durable storage.

use std::io;
use std::path::PathBuf;

use crucible_core::{BoxError, StorageError};
use crucible_kv::{KvError, KvErrorKind, WriteError};

/// An error while a storage is opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageOpenError {
    /// A later version wrote the storage.
    #[error("the storage has format {found}, the newest supported format is {supported}")]
    TooNew {
        /// The format of the storage.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The store cannot be read or written.
    #[error("cannot open the storage's store")]
    Map(#[source] KvError),
    /// The blob files cannot be read or written.
    #[error("cannot open the blob directory `{}`", directory.display())]
    Files {
        /// The directory of the files.
        directory: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

impl From<KvError> for StorageOpenError {
    fn from(error: KvError) -> Self {
        Self::Map(error)
    }
}

/// A storage error, with conversions from errors of the store and of files.
#[derive(Debug)]
pub(super) struct StorageFailure(pub(super) StorageError);

/// Returns the error for a corrupt item.
pub(super) fn corrupt(what: impl Into<String>, source: impl Into<BoxError>) -> StorageFailure {
    StorageFailure(StorageError::Corrupt { what: what.into(), source: Some(source.into()) })
}

/// The way in which an item is corrupt.
#[derive(Debug, thiserror::Error)]
pub(super) enum Corruption {
    /// The checksum does not match.
    #[error("its content is not what was written")]
    Changed,
    /// The item does not exist, although another item refers to it.
    #[error("it is missing")]
    Missing,
    /// Its parts belong to different evaluations, or were written at different times.
    #[error("its parts do not belong together")]
    Mixed,
}

impl From<StorageError> for StorageFailure {
    fn from(error: StorageError) -> Self {
        Self(error)
    }
}

impl From<KvError> for StorageFailure {
    fn from(error: KvError) -> Self {
        Self(match error.kind() {
            KvErrorKind::Full => StorageError::Full { source: Some(error.into()) },
            KvErrorKind::Poisoned => {
                let reason = match error {
                    KvError::Poisoned { reason } => reason.to_string(),
                    other => other.to_string(),
                };
                StorageError::Poisoned { reason }
            }
            KvErrorKind::Corrupt => {
                StorageError::Corrupt { what: "the store".to_owned(), source: Some(error.into()) }
            }
            _ => StorageError::Unavailable { source: error.into() },
        })
    }
}

impl From<WriteError<StorageFailure>> for StorageFailure {
    fn from(error: WriteError<StorageFailure>) -> Self {
        match error {
            WriteError::Aborted(error) => error,
            WriteError::Store(error) => error.into(),
        }
    }
}

impl From<io::Error> for StorageFailure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind;
        Self(match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StorageError::Full { source: Some(error.into()) }
            }
            _ => StorageError::Unavailable { source: error.into() },
        })
    }
}
