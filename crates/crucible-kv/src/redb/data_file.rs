//! The file below redb, which records the cause of the first failure.
//!
//! redb reports only that an operation failed.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ::redb::StorageBackend;

use super::disk::DiskFile;
use crate::SharedError;

/// The file of a redb database. The lock on its directory keeps other processes out.
#[derive(Debug)]
pub(super) struct DataFile {
    file: Box<dyn DiskFile>,
    failure: Arc<FirstFailure>,
}

/// The first failure of a file, if any.
#[derive(Debug, Default)]
pub(super) struct FirstFailure(Mutex<Option<FailureCause>>);

#[derive(Debug)]
enum FailureCause {
    /// The disk was full during a write.
    Full(Arc<io::Error>),
    /// Any other failure. After a failed flush in particular, the content on disk is unknown.
    Other,
}

impl FirstFailure {
    /// Returns the error if the first failure was a full disk.
    pub(super) fn full(&self) -> Option<SharedError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(FailureCause::Full(error)) => Some(Arc::<io::Error>::clone(error)),
            Some(FailureCause::Other) | None => None,
        }
    }

    fn record(&self, cause: impl FnOnce() -> FailureCause) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(cause);
    }

    /// Records a failed write and returns an equal error.
    fn record_write(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if !matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            return self.record_other(error);
        }
        let returned = io::Error::from(error.kind());
        self.record(|| FailureCause::Full(Arc::new(error)));
        returned
    }

    /// Records a failure that is not a full disk, and returns its error.
    fn record_other(&self, error: io::Error) -> io::Error {
        self.record(|| FailureCause::Other);
        error
    }
}

impl DataFile {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, failure: Arc::default() }
    }

    pub(super) fn failure(&self) -> Arc<FirstFailure> {
        Arc::clone(&self.failure)
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len().map_err(|error| self.failure.record_other(error))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out).map_err(|error| self.failure.record_other(error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(|error| self.failure.record_write(error))
    }

    fn sync_data(&self) -> io::Result<()> {
        // A file system that detects a full disk only during a flush has lost accepted writes.
        // That is not `Full`, because `Full` means that nothing was written.
        self.file.sync().map_err(|error| self.failure.record_other(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data).map_err(|error| self.failure.record_write(error))
    }
}
