//! An in-memory backend.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::{Backend, Batch, Durability, KvError, Range};

/// An in-memory map that models a disk. Clones share one disk, so that a test can open it again.
///
/// It reports [`Durability::Power`], because a simulated power cut does not affect it.
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
    /// Creates an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::with_entries(BTreeMap::new())
    }

    /// Creates a disk with some entries.
    #[must_use]
    pub fn with_entries(entries: BTreeMap<Bytes, Bytes>) -> Self {
        Self { entries: Arc::new(RwLock::new(entries)), strongest: Durability::Power }
    }

    /// Sets the strongest durability that the backend reports.
    #[must_use]
    pub fn with_strongest(mut self, strongest: Durability) -> Self {
        self.strongest = strongest;
        self
    }

    /// Returns all entries.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Bytes, Bytes> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Applies a batch to a map.
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
            return Err(KvError::UnsupportedDurability {
                requested: durability,
                strongest: self.strongest,
            });
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
