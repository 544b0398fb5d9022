//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::{Backend, Batch, Durability, KvError, Range};

/// A map in memory that plays a disk: clones are the same disk, so that what was written can be opened again.
///
/// It claims [`Durability::Power`], since the power that tests cut is not this machine's.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    entries: Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
    strongest: Durability,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::of(BTreeMap::new())
    }

    /// A disk with something on it.
    #[must_use]
    pub fn of(entries: BTreeMap<Bytes, Bytes>) -> Self {
        Self { entries: Arc::new(RwLock::new(entries)), strongest: Durability::Power }
    }

    /// Claims no more than this.
    #[must_use]
    pub fn with_strongest(mut self, strongest: Durability) -> Self {
        self.strongest = strongest;
        self
    }

    /// Everything that is on it.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Bytes, Bytes> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a batch's writes in a map.
pub(crate) fn apply(entries: &mut BTreeMap<Bytes, Bytes>, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

impl Backend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entries = entries
            .range::<[u8], _>(range.bounds())
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(if range.is_reversed() {
            entries.rev().take(limit).collect()
        } else {
            entries.take(limit).collect()
        })
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        if durability > self.strongest {
            return Err(KvError::TooWeak { asked: durability, strongest: self.strongest });
        }
        apply(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner), batch);
        Ok(())
    }

    fn strongest(&self) -> Durability {
        self.strongest
    }

    fn reads_wait(&self) -> bool {
        false
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn compact(&self) -> Result<(), KvError> {
        Ok(())
    }
}
