//! The redb backend in a directory.

use std::path::Path;

use bytes::Bytes;

use super::disk::OsDisk;
use super::tree::{FILE, OpenCheck};
use super::wal_tree::WalTree;
use crate::store_directory::quoted;
use crate::{Backend, Batch, Durability, KvError, Range, StoreDirectory};

const KIND: &str = "redb";

/// The size of a log file at which the log is applied to the tree. Log and memory hold at most
/// twice as much. A larger limit causes fewer writes to the tree and a longer opening after a
/// crash.
const WAL_LIMIT: u64 = 8 * 1024 * 1024;

/// redb with a write-ahead log, in a directory of its own: the files `data.redb`, `log.0` and
/// `log.1`.
///
/// A commit appends one record to the log and, for [`Durability::Power`], calls fdatasync(2) once.
/// The entries of the log are also in memory. A background thread applies them to the redb tree,
/// 8 MiB at a time. A commit of the tree itself writes every page on the path to every key, which
/// is expensive for a few entries and efficient for many. Closing applies the rest and empties the
/// log.
///
/// After a crash, opening replays the log up to the first incomplete record. Opening returns
/// [`KvError::Corrupt`] and names a missing record if a later record proves that it was durable.
/// Only for the very last record, a changed byte cannot be distinguished from an incomplete write.
///
/// If the disk is full, nothing of a commit is written, and the next commit may succeed.
#[derive(Debug)]
pub struct RedbBackend {
    tree: WalTree,
    /// Declared last, so that the lock is released after the files are closed.
    directory: StoreDirectory,
}

impl RedbBackend {
    /// Opens the store in a directory, or creates one.
    ///
    /// # Errors
    /// Returns [`KvError::Locked`], [`KvError::UnsupportedFormat`], [`KvError::Corrupt`] with the
    /// name of the file, or an error if the directory cannot be written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        Self::open_with(directory.as_ref(), OpenCheck::Nothing)
    }

    /// Opens a store after reading all of it and verifying the checksum of every page. This detects
    /// entries that are missing, which a read cannot detect. It takes about one second for each
    /// GiB.
    ///
    /// # Errors
    /// Returns the errors of [`open`](Self::open), and [`KvError::Corrupt`] if a byte of a used
    /// page has changed.
    pub fn open_verified(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        Self::open_with(directory.as_ref(), OpenCheck::Everything)
    }

    fn open_with(directory: &Path, check: OpenCheck) -> Result<Self, KvError> {
        let directory = StoreDirectory::take(directory, KIND)?;
        // redb would create a new store in place of an empty file.
        let path = directory.path().join(FILE);
        let is_empty = || path.metadata().map_or(true, |metadata| metadata.len() == 0);
        if !directory.is_new() && is_empty() {
            return Err(KvError::Corrupt { what: quoted(&path).into(), source: None });
        }
        let tree =
            WalTree::open(WAL_LIMIT, check, || Box::new(OsDisk(directory.path().to_owned())))?;
        directory.mark()?;
        Ok(Self { tree, directory })
    }
}

impl Backend for RedbBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.tree.get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        Ok(self.tree.get_cached(key))
    }

    fn generation(&self) -> Option<u64> {
        Some(self.tree.generation())
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.tree.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        self.tree.commit(batch, durability)
    }

    fn strongest(&self) -> Durability {
        Durability::Power
    }

    fn reads_wait(&self) -> bool {
        true
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.directory.disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        self.tree.compact()
    }
}
