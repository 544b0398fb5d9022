//! What an embedded store must do to be one of ours.

use std::fmt;

use bytes::Bytes;

use crate::{Batch, Durability, KvError, Range};

/// The longest key, in bytes. Every backend takes keys of this length.
pub const KEY_MAX: usize = 4 * 1024;

/// The longest value, in bytes. Every backend takes values of this length; larger things are files.
pub const VALUE_MAX: usize = 4 * 1024 * 1024;

/// An ordered map of bytes that is kept somewhere. Calls block: a [`Store`](crate::Store) makes them where that is no harm.
///
/// One thread commits at a time; any number read meanwhile. Keys are ordered as bytes are, and are never empty.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// The value cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The value of a key if that can be told without waiting for a disk, as [`get`](Self::get) would tell it; `None` if it cannot, or
    /// if nobody knows that it can.
    ///
    /// # Errors
    /// The value cannot be read.
    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        if self.reads_wait() { Ok(None) } else { self.get(key).map(Some) }
    }

    /// How often entries went to where [`get_cached`](Self::get_cached) does not look for them; `None` if that is not counted.
    ///
    /// # Behavior
    /// - As long as it is the same, `get_cached` tells of everything that has been committed since.
    fn settled(&self) -> Option<u64> {
        None
    }

    /// The first `limit` entries of a range, in its order.
    ///
    /// # Behavior
    /// - All of them are of one moment: a commit beside it is seen wholly or not at all.
    ///
    /// # Errors
    /// An entry cannot be read.
    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError>;

    /// Writes a batch.
    ///
    /// # Behavior
    /// - All of it or nothing, after a crash as well.
    /// - When it returns, the batch is as durable as asked, and so is all that was committed before, by whatever level. An
    ///   empty batch makes durable what was committed before.
    /// - An error of the kind [`Full`](crate::KvErrorKind::Full) says that nothing was written, and that the next commit may
    ///   succeed. After any other error nobody knows, and nothing more is to be committed.
    ///
    /// # Errors
    /// There is no room, what the backend stands on is away, or the level is beyond [`strongest`](Self::strongest).
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError>;

    /// The strongest level that [`commit`](Self::commit) keeps. It is never claimed beyond what is done.
    fn strongest(&self) -> Durability;

    /// Whether `get` and `scan` may wait for a disk, so that they do not belong on an asynchronous thread.
    fn reads_wait(&self) -> bool;

    /// How many bytes all of it takes on disk.
    ///
    /// # Errors
    /// The files cannot be looked at.
    fn disk_bytes(&self) -> Result<u64, KvError>;

    /// Gives back the space of what was deleted, as far as it can. Nobody commits meanwhile.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
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

    fn settled(&self) -> Option<u64> {
        (**self).settled()
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
