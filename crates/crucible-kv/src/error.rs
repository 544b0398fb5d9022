//! What goes wrong in a store.

use std::sync::Arc;

use crate::{Durability, Owner};

/// A cause that all who wrote in one group are told.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked to.
///
/// It can be cloned, since everybody whose write was in a group that failed is told the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// There is no room. Nothing was written, and the store works on.
    #[error("there is no room in the store")]
    Full {
        /// What said so.
        #[source]
        source: SharedError,
    },
    /// The store does not write any more, since nobody knows what became of a write. What is stored can still be read; open
    /// it again to go on.
    #[error("the store does not write any more: {reason}")]
    Poisoned {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// Something stored cannot be read. Everything else may still be.
    #[error("{what} is damaged")]
    Corrupt {
        /// What: a file, or what was read.
        what: Arc<str>,
        /// How that was noticed.
        #[source]
        source: Option<SharedError>,
    },
    /// What the store stands on is away, or refuses.
    #[error("{what} is not available")]
    Unavailable {
        /// What: a file or a directory, or what was done.
        what: Arc<str>,
        /// Why.
        #[source]
        source: SharedError,
    },
    /// Somebody else has the directory.
    #[error("`{directory}` is in use by {}", by.as_ref().map_or_else(|| "a process that has not said its name yet".to_owned(), ToString::to_string))]
    Locked {
        /// The directory.
        directory: Arc<str>,
        /// Who has it. For a moment nobody knows.
        by: Option<Box<Owner>>,
    },
    /// The directory was written by a later version, or for another kind of store.
    #[error("`{directory}` is a store of the kind `{found}`; this one reads `{supported}`")]
    TooNew {
        /// The directory.
        directory: Arc<str>,
        /// The kind and format that it has.
        found: Arc<str>,
        /// The kind and format that can be read.
        supported: Arc<str>,
    },
    /// The backend does not keep what was asked for.
    #[error(
        "durability `{asked}` was asked for, and `{strongest}` is the strongest that this store keeps"
    )]
    TooWeak {
        /// What was asked for.
        asked: Durability,
        /// What there is.
        strongest: Durability,
    },
    /// A key or a value is longer than every backend takes, or a key is empty.
    #[error("a {what} of {length} bytes: it has from {least} to {most}")]
    Length {
        /// `key` or `value`.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it is at least.
        least: usize,
        /// How long it is at most.
        most: usize,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Kinds of [`KvError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvErrorKind {
    /// There is no room.
    Full,
    /// The store refuses to write after damage.
    Poisoned,
    /// Something stored cannot be read.
    Corrupt,
    /// What the store stands on is away.
    Unavailable,
    /// Somebody else has the directory.
    Locked,
    /// It was written by a later version, or for another kind of store.
    TooNew,
    /// It does not keep the durability that was asked for.
    TooWeak,
    /// A key or a value has a length that is not allowed.
    Length,
    /// The store was closed.
    Closed,
}

impl KvError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> KvErrorKind {
        match self {
            Self::Full { .. } => KvErrorKind::Full,
            Self::Poisoned { .. } => KvErrorKind::Poisoned,
            Self::Corrupt { .. } => KvErrorKind::Corrupt,
            Self::Unavailable { .. } => KvErrorKind::Unavailable,
            Self::Locked { .. } => KvErrorKind::Locked,
            Self::TooNew { .. } => KvErrorKind::TooNew,
            Self::TooWeak { .. } => KvErrorKind::TooWeak,
            Self::Length { .. } => KvErrorKind::Length,
            Self::Closed => KvErrorKind::Closed,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), KvErrorKind::Full | KvErrorKind::Unavailable | KvErrorKind::Locked)
    }

    /// What a failed operation of the file system means: no room, or something that is away.
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

/// Why a write did not happen. None of it did.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The closure gave an error. It is the caller's own, and says nothing of the store.
    #[error("the write was given up")]
    Aborted(#[source] E),
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] KvError),
}
