//! Read and write access for one write closure.

use bytes::Bytes;

use crate::backend::{KEY_MAX, VALUE_MAX};
use crate::overlay::Overlay;
use crate::{Backend, Batch, Generation, KvError, Range};

/// The number of entries that [`Transaction::for_each`] reads at a time.
const PAGE_SIZE: usize = 1024;

/// The view of one write closure: committed entries, earlier writes of its group, and its own
/// writes.
#[derive(Debug)]
pub struct Transaction<'a> {
    backend: &'a dyn Backend,
    /// Writes of earlier closures in the group. The backend does not have them yet.
    group: &'a Batch,
    own: Batch,
    /// The first write with an invalid length. It is reported when the closure has ended, so that
    /// `put` needs no result.
    refused: Option<KvError>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(backend: &'a dyn Backend, group: &'a Batch) -> Self {
        Self { backend, group, own: Batch::new(), refused: None }
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.own.get(key).or_else(|| self.group.get(key)) {
            Some(value) => Ok(value.cloned()),
            None => self.backend.get(key),
        }
    }

    /// Returns `true` if a key still has a value that was read after `generation`. Mostly needs no
    /// read of the disk, in contrast to [`get`](Self::get).
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    pub fn is_unchanged(
        &self,
        key: &[u8],
        value: Option<&Bytes>,
        generation: Generation,
    ) -> Result<bool, KvError> {
        if let Some(now) = self.own.get(key).or_else(|| self.group.get(key)) {
            return Ok(now == value);
        }
        if let Some(now) = self.backend.get_cached(key)? {
            return Ok(now.as_ref() == value);
        }
        // This check must come after `get_cached`. While the generation is current, that lookup
        // finds every commit made since the caller's read.
        if generation.is_current(self.backend) {
            return Ok(true);
        }
        Ok(self.backend.get(key)?.as_ref() == value)
    }

    /// Returns the first `limit` entries of a range, in the order of the range.
    ///
    /// # Errors
    /// Returns an error if an entry cannot be read.
    pub fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        let stored = |range: &Range, limit| self.backend.scan(range, limit);
        Overlay::new(stored, [&self.own, self.group], range, limit).take(limit).collect()
    }

    /// Calls a closure for each entry of a range, in the order of the range. The closure may write.
    /// Reads 1,024 entries at a time; writes beyond the current page are visible to later calls.
    ///
    /// # Errors
    /// Returns the error of the closure, or an error if an entry cannot be read.
    pub fn for_each(
        &mut self,
        mut range: Range,
        mut visit: impl FnMut(&mut Self, Bytes, Bytes) -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        loop {
            let page = self.scan(&range, PAGE_SIZE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range = range.after(last.clone());
            for (key, value) in page {
                visit(self, key, value)?;
            }
        }
    }

    /// Sets the value of a key. The last write of a key replaces earlier ones.
    ///
    /// A key that is empty or longer than [`KEY_MAX`], or a value longer than [`VALUE_MAX`], fails
    /// the whole write with [`KvError::InvalidLength`].
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.check_length("key", key.len(), 1, KEY_MAX);
        self.check_length("value", value.len(), 0, VALUE_MAX);
        self.own.put(key, value);
    }

    /// Removes a key. The key does not have to exist. An invalid key fails the whole write, as in
    /// [`put`](Self::put).
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.check_length("key", key.len(), 1, KEY_MAX);
        self.own.delete(key);
    }

    /// Returns the writes of the closure, or the error of the first invalid write.
    pub(crate) fn into_writes(self) -> Result<Batch, KvError> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self.own),
        }
    }

    fn check_length(&mut self, what: &'static str, length: usize, min: usize, max: usize) {
        if !(min..=max).contains(&length) && self.refused.is_none() {
            self.refused = Some(KvError::InvalidLength { what, length, min, max });
        }
    }
}
