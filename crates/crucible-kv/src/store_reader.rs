//! Read access to committed entries.

use bytes::Bytes;

use crate::{Backend, Generation, KvError, Range};

/// The number of entries that [`StoreReader::for_each`] reads at a time.
const PAGE_SIZE: usize = 1024;

/// The committed entries of a store. Each call reads a snapshot of its own.
#[derive(Clone, Copy, Debug)]
pub struct StoreReader<'a>(&'a dyn Backend);

impl<'a> StoreReader<'a> {
    pub(crate) fn new(backend: &'a dyn Backend) -> Self {
        Self(backend)
    }

    /// Returns the current generation. Take it before a read.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation::of(self.0)
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(key)
    }

    /// Returns the first `limit` entries of a range, in the order of the range.
    ///
    /// # Errors
    /// Returns an error if an entry cannot be read.
    pub fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.0.scan(range, limit)
    }

    /// Calls a closure for each entry of a range, in the order of the range. Reads 1,024 entries at
    /// a time, each page from a snapshot of its own.
    ///
    /// # Errors
    /// Returns an error if an entry cannot be read.
    pub fn for_each(
        &self,
        mut range: Range,
        mut visit: impl FnMut(Bytes, Bytes),
    ) -> Result<(), KvError> {
        loop {
            let page = self.scan(&range, PAGE_SIZE)?;
            let last = page.last().filter(|_| page.len() == PAGE_SIZE).map(|(key, _)| key.clone());
            page.into_iter().for_each(|(key, value)| visit(key, value));
            match last {
                Some(last) => range = range.after(last),
                None => return Ok(()),
            }
        }
    }

    /// Returns the disk space of the store, in bytes.
    pub(crate) fn disk_bytes(&self) -> Result<u64, KvError> {
        self.0.disk_bytes()
    }
}
