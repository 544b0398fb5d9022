//! A write that first looks at what there is.

use bytes::Bytes;

use crate::backend::{KEY_MAX, VALUE_MAX};
use crate::merge::Merged;
use crate::{Backend, Batch, Generation, KvError, Range};

/// What a write sees and makes: everything written before it, in its own group as well, and what it wrote itself.
#[derive(Debug)]
pub struct Transaction<'a> {
    backend: &'a dyn Backend,
    /// What the group has written so far; the backend does not know it yet.
    group: &'a Batch,
    own: Batch,
    /// The first write that was not allowed. It is told when the closure has ended, so that `put` need not be asked each
    /// time.
    refused: Option<KvError>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(backend: &'a dyn Backend, group: &'a Batch) -> Self {
        Self { backend, group, own: Batch::new(), refused: None }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.own.get(key).or_else(|| self.group.get(key)) {
            Some(value) => Ok(value.cloned()),
            None => self.backend.get(key),
        }
    }

    /// Whether a key still has a value that was read after a moment: as by [`get`](Self::get), but mostly without reading.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn is_still(
        &self,
        key: &[u8],
        value: Option<&Bytes>,
        moment: Generation,
    ) -> Result<bool, KvError> {
        if let Some(now) = self.own.get(key).or_else(|| self.group.get(key)) {
            return Ok(now == value);
        }
        if let Some(now) = self.backend.get_cached(key)? {
            return Ok(now.as_ref() == value);
        }
        // In this order: nothing has gone where it was not looked for in the meantime.
        if moment.is_still(self.backend) {
            return Ok(true);
        }
        Ok(self.backend.get(key)?.as_ref() == value)
    }

    /// The first `limit` entries of a range, in its order.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        let stored = |range: &Range, limit| self.backend.scan(range, limit);
        Merged::new(stored, [&self.own, self.group], range, limit).take(limit).collect()
    }

    /// Gives a key a value. Of several writes of a key the last one counts.
    ///
    /// A key that is empty or longer than [`KEY_MAX`], or a value longer than [`VALUE_MAX`], fails the whole write with
    /// [`KvError::Length`].
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.check("key", key.len(), 1, KEY_MAX);
        self.check("value", value.len(), 0, VALUE_MAX);
        self.own.put(key, value);
    }

    /// Removes a key. It need not be there. Keys are checked as by [`put`](Self::put).
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.check("key", key.len(), 1, KEY_MAX);
        self.own.delete(key);
    }

    /// What was written, unless something of it is not allowed.
    pub(crate) fn into_writes(self) -> Result<Batch, KvError> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self.own),
        }
    }

    fn check(&mut self, what: &'static str, length: usize, least: usize, most: usize) {
        if !(least..=most).contains(&length) && self.refused.is_none() {
            self.refused = Some(KvError::Length { what, length, least, most });
        }
    }
}
