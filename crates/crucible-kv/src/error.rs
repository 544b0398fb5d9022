//! Errors of a store.

use std::sync::Arc;

use crate::{Durability, LockOwner};

/// A cause that several callers share.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// An error of a store.
///
/// It can be cloned, because every caller whose write was in a failed group gets the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The disk is full. Nothing was written, and the store stays usable.
    #[error("cannot write to the store: the disk is full")]
    Full {
        /// The error of the operating system.
        #[source]
        source: SharedError,
    },
    /// The store refuses writes, because the result of an earlier write is unknown. Reads still
    /// work. Open the store again to write.
    #[error("the store is poisoned and refuses writes: {reason}")]
    Poisoned {
        /// The failure that poisoned the store.
        reason: Arc<str>,
    },
    /// Stored data cannot be read. Other data may still be readable.
    #[error("{what} is corrupt")]
    Corrupt {
        /// The file or the item that is corrupt.
        what: Arc<str>,
        /// The check that failed.
        #[source]
        source: Option<SharedError>,
    },
    /// A file, a directory or another resource of the operating system is unavailable.
    #[error("{what} is unavailable")]
    Unavailable {
        /// The file, the directory or the resource.
        what: Arc<str>,
        /// The error of the operating system.
        #[source]
        source: SharedError,
    },
    /// Another process holds the lock of the directory.
    #[error(
        "`{directory}` is in use by {}",
        by.as_ref().map_or_else(|| "an unknown process".to_owned(), ToString::to_string)
    )]
    Locked {
        /// The directory.
        directory: Arc<str>,
        /// The process that holds the lock. `None` if it has not written its name yet.
        by: Option<Box<LockOwner>>,
    },
    /// A later version wrote the directory, or it contains another kind of store.
    #[error("`{directory}` contains a store of the format `{found}`, expected `{supported}`")]
    UnsupportedFormat {
        /// The directory.
        directory: Arc<str>,
        /// The kind and version of the store in the directory.
        found: Arc<str>,
        /// The kind and version that this backend reads.
        supported: Arc<str>,
    },
    /// The backend does not provide the requested durability.
    #[error("durability `{requested}` is not supported: the strongest level is `{strongest}`")]
    UnsupportedDurability {
        /// The requested level.
        requested: Durability,
        /// The strongest level of the backend.
        strongest: Durability,
    },
    /// A key or a value is too long, or a key is empty.
    #[error("a {what} has {length} bytes, expected {min} to {max}")]
    InvalidLength {
        /// `key` or `value`.
        what: &'static str,
        /// The length.
        length: usize,
        /// The minimum length.
        min: usize,
        /// The maximum length.
        max: usize,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The kind of a [`KvError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvErrorKind {
    /// The disk is full.
    Full,
    /// The store refuses writes after a failure.
    Poisoned,
    /// Stored data cannot be read.
    Corrupt,
    /// A resource of the operating system is unavailable.
    Unavailable,
    /// Another process holds the directory.
    Locked,
    /// A later version wrote the directory, or it contains another kind of store.
    UnsupportedFormat,
    /// The backend does not provide the requested durability.
    UnsupportedDurability,
    /// The length of a key or a value is out of range.
    InvalidLength,
    /// The store was closed.
    Closed,
}

impl KvError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> KvErrorKind {
        match self {
            Self::Full { .. } => KvErrorKind::Full,
            Self::Poisoned { .. } => KvErrorKind::Poisoned,
            Self::Corrupt { .. } => KvErrorKind::Corrupt,
            Self::Unavailable { .. } => KvErrorKind::Unavailable,
            Self::Locked { .. } => KvErrorKind::Locked,
            Self::UnsupportedFormat { .. } => KvErrorKind::UnsupportedFormat,
            Self::UnsupportedDurability { .. } => KvErrorKind::UnsupportedDurability,
            Self::InvalidLength { .. } => KvErrorKind::InvalidLength,
            Self::Closed => KvErrorKind::Closed,
        }
    }

    /// Returns `true` if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), KvErrorKind::Full | KvErrorKind::Unavailable | KvErrorKind::Locked)
    }

    /// Converts an error of the file system. `what` names the file in messages.
    pub fn from_io(what: impl Into<Arc<str>>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { source: Arc::new(source) }
            }
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Self::Corrupt { what: what.into(), source: Some(Arc::new(source)) }
            }
            _ => Self::Unavailable { what: what.into(), source: Arc::new(source) },
        }
    }
}

/// A failed write. None of its writes were made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The closure returned an error. The store itself has not failed.
    #[error("the write was aborted")]
    Aborted(#[source] E),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
}
