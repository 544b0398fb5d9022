//! A backend that reproduces the content after a power cut.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::MemoryBackend;
use super::memory_backend::apply;
use crate::{Backend, Batch, Durability, KvError, Range};

/// An in-memory backend that records every commit, so that a test can reproduce the content after a
/// power cut at any time.
///
/// Times are counted in commits: time 0 is before the first one. A cut keeps every commit up to the
/// last durable one, and a prefix of the later commits, which may include the running one. It never
/// keeps a part of a commit, nor a commit without its predecessors. This is the contract of
/// [`Backend::commit`]. Torn writes within a commit happen in the files below a backend, and the
/// backend itself must survive them.
///
/// Clones share one store.
#[derive(Clone, Debug, Default)]
pub struct CrashImages {
    current: MemoryBackend,
    history: Arc<Mutex<Vec<(Batch, Durability)>>>,
}

impl CrashImages {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of commits, which is the current time.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.lock().len()
    }

    /// Returns the possible numbers of commits after a power cut at a time.
    ///
    /// The range includes the next commit if there is one, because it may have been running.
    #[must_use]
    pub fn survivors(&self, time: usize) -> RangeInclusive<usize> {
        let history = self.lock();
        let before = history.get(..time).unwrap_or(&history);
        let durable = before.iter().rposition(|(_, durability)| *durability == Durability::Power);
        durable.map_or(0, |last| last + 1)..=(time + 1).min(history.len())
    }

    /// Returns the content with the first `survivors` commits, as a disk to open.
    #[must_use]
    pub fn image(&self, survivors: usize) -> MemoryBackend {
        let mut entries = BTreeMap::new();
        for (batch, _) in self.lock().iter().take(survivors) {
            apply(&mut entries, batch);
        }
        MemoryBackend::with_entries(entries)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Batch, Durability)>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for CrashImages {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.current.get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        self.current.get_cached(key)
    }

    fn generation(&self) -> Option<u64> {
        self.current.generation()
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.current.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        // Hold the lock over both, so that every visible write is in the history.
        let mut history = self.lock();
        history.push((batch.clone(), durability));
        self.current.commit(batch, durability)
    }

    fn strongest(&self) -> Durability {
        self.current.strongest()
    }

    fn reads_wait(&self) -> bool {
        self.current.reads_wait()
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.current.disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        self.current.compact()
    }
}
