//! How errors of the map and of files become errors of a storage.

use std::io;

use crucible_core::{BoxError, StorageError};
use crucible_kv::{KvError, KvErrorKind, WriteError};

/// An error of the storage: what errors of the map and of files turn into underway.
#[derive(Debug)]
pub(super) struct Failure(pub(super) StorageError);

/// Something stored is not what was written.
pub(super) fn corrupt(what: impl Into<String>, source: impl Into<BoxError>) -> Failure {
    Failure(StorageError::Corrupt { what: what.into(), source: Some(source.into()) })
}

/// What is wrong with something that was read and is not what was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// Its bytes are not those that were written.
    #[error("its bytes are not those that were written")]
    Changed,
    /// It is not there, although something else says that it is.
    #[error("it is missing")]
    Missing,
    /// Its parts are of different evaluations, or of different times.
    #[error("its parts do not belong together")]
    Mixed,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self(error)
    }
}

impl From<KvError> for Failure {
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

impl From<WriteError<Failure>> for Failure {
    fn from(error: WriteError<Failure>) -> Self {
        match error {
            WriteError::Aborted(error) => error,
            WriteError::Store(error) => error.into(),
        }
    }
}

impl From<io::Error> for Failure {
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
