//! The file below redb, which says what redb does not: what exactly went wrong first.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ::redb::StorageBackend;

use super::blocks::Blocks;
use crate::SharedError;

/// A file of redb's. Nobody else opens it: its directory is locked.
#[derive(Debug)]
pub(super) struct DataFile {
    blocks: Box<dyn Blocks>,
    trouble: Arc<Trouble>,
}

/// The first thing that went wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Cause>>);

#[derive(Debug)]
enum Cause {
    /// There was no room for what was to be written.
    Full(Arc<io::Error>),
    /// Anything else. After a failed flush in particular, nobody knows what is on the disk.
    Else,
}

impl Trouble {
    /// That there was no room, if that is what went wrong first.
    pub(super) fn full(&self) -> Option<SharedError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Cause::Full(error)) => Some(Arc::<io::Error>::clone(error)),
            Some(Cause::Else) | None => None,
        }
    }

    fn note(&self, cause: impl FnOnce() -> Cause) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(cause);
    }

    fn note_write(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if !matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            return self.note_else(error);
        }
        let again = io::Error::from(error.kind());
        self.note(|| Cause::Full(Arc::new(error)));
        again
    }

    fn note_else(&self, error: io::Error) -> io::Error {
        self.note(|| Cause::Else);
        error
    }
}

impl DataFile {
    pub(super) fn new(blocks: Box<dyn Blocks>) -> Self {
        Self { blocks, trouble: Arc::default() }
    }

    pub(super) fn trouble(&self) -> Arc<Trouble> {
        Arc::clone(&self.trouble)
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> io::Result<u64> {
        self.blocks.len().map_err(|error| self.trouble.note_else(error))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.blocks.read(offset, out).map_err(|error| self.trouble.note_else(error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.blocks.set_len(len).map_err(|error| self.trouble.note_write(error))
    }

    fn sync_data(&self) -> io::Result<()> {
        // A file system that finds out only now that there is no room has lost what it took: that is not `Full`.
        self.blocks.sync().map_err(|error| self.trouble.note_else(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.blocks.write(offset, data).map_err(|error| self.trouble.note_write(error))
    }
}
