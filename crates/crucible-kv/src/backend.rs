//! The interface of an embedded store.

use std::fmt;

use bytes::Bytes;

use crate::{Batch, Durability, KvError, Range};

/// The maximum length of a key, in bytes. Every backend accepts keys of this length.
pub const KEY_MAX: usize = 4 * 1024;

/// The maximum length of a value, in bytes. Every backend accepts values of this length. Keep
/// larger data in files.
pub const VALUE_MAX: usize = 4 * 1024 * 1024;

/// A stored, ordered map of bytes.
///
/// Calls block. A [`Store`](crate::Store) makes them on threads that may block. One thread commits
/// at a time, and any number of threads read meanwhile. Keys are ordered bytewise and are never
/// empty.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Returns the result of [`get`](Self::get) if it is in memory; `None` if the backend would
    /// have to read the disk.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        if self.reads_wait() { Ok(None) } else { self.get(key).map(Some) }
    }

    /// Returns how often the backend has moved entries out of the memory that
    /// [`get_cached`](Self::get_cached) reads; `None` if it does not count.
    ///
    /// # Behavior
    /// - While the number stays the same, `get_cached` finds every later commit.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Returns the first `limit` entries of a range, in the order of the range.
    ///
    /// # Behavior
    /// - The entries are a consistent snapshot: a concurrent commit is visible as a whole or not at
    ///   all.
    ///
    /// # Errors
    /// Returns an error if an entry cannot be read.
    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError>;

    /// Writes a batch.
    ///
    /// # Behavior
    /// - The batch is written as a whole or not at all, also across a crash.
    /// - On return, the batch and all earlier commits have the requested durability. An empty batch
    ///   only makes earlier commits durable.
    /// - After an error of the kind [`Full`](crate::KvErrorKind::Full) nothing was written, and the
    ///   next commit may succeed. After any other error the state is unknown; the caller must not
    ///   commit again.
    ///
    /// # Errors
    /// Returns an error if the disk is full, if the files are unavailable, or if the level exceeds
    /// [`strongest`](Self::strongest).
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError>;

    /// Returns the strongest durability that [`commit`](Self::commit) provides.
    fn strongest(&self) -> Durability;

    /// Returns `true` if `get` and `scan` may wait for a disk and must not run on an asynchronous
    /// thread.
    fn reads_wait(&self) -> bool;

    /// Returns the disk space of the store, in bytes.
    ///
    /// # Errors
    /// Returns an error if the size of a file cannot be read.
    fn disk_bytes(&self) -> Result<u64, KvError>;

    /// Releases the space of deleted entries, as far as the backend can. The caller must not commit
    /// meanwhile.
    ///
    /// # Errors
    /// Returns the same errors as [`commit`](Self::commit).
    fn compact(&self) -> Result<(), KvError>;
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend + ?Sized> Backend for Box<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        (**self).get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        (**self).get_cached(key)
    }

    fn generation(&self) -> Option<u64> {
        (**self).generation()
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        (**self).scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        (**self).commit(batch, durability)
    }

    fn strongest(&self) -> Durability {
        (**self).strongest()
    }

    fn reads_wait(&self) -> bool {
        (**self).reads_wait()
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        (**self).disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        (**self).compact()
    }
}
