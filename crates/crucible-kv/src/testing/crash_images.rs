//! A store whose power can be cut.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::MemoryBackend;
use super::memory::apply;
use crate::{Backend, Batch, Durability, KvError, Range};

/// A store in memory that remembers every commit, so that a test can have what a power cut would have left at any moment.
///
/// Moments are counted in commits: moment 0 is before the first. What a cut leaves is every commit up to the last that was made
/// durable, and of those after it any number from the first on, also the one that was under way; never a part of one, nor one
/// without those before it. That is what [`Backend::commit`] promises. Tearing within a commit happens below a backend, in its
/// files, and is the backend's to survive.
///
/// Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct CrashImages {
    now: MemoryBackend,
    history: Arc<Mutex<Vec<(Batch, Durability)>>>,
}

impl CrashImages {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commits there were: the latest moment.
    #[must_use]
    pub fn moments(&self) -> usize {
        self.lock().len()
    }

    /// How many commits may be left by a power cut at a moment.
    ///
    /// The next one is among them if there was one: it may have been under way.
    #[must_use]
    pub fn survivors(&self, moment: usize) -> RangeInclusive<usize> {
        let history = self.lock();
        let before = history.get(..moment).unwrap_or(&history);
        let durable = before.iter().rposition(|(_, durability)| *durability == Durability::Power);
        durable.map_or(0, |last| last + 1)..=(moment + 1).min(history.len())
    }

    /// What a power cut leaves that the first `survivors` commits survive: a disk to open again.
    #[must_use]
    pub fn image(&self, survivors: usize) -> MemoryBackend {
        let mut entries = BTreeMap::new();
        for (batch, _) in self.lock().iter().take(survivors) {
            apply(&mut entries, batch);
        }
        MemoryBackend::of(entries)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Batch, Durability)>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for CrashImages {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.now.get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        self.now.get_cached(key)
    }

    fn settled(&self) -> Option<u64> {
        self.now.settled()
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.now.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        // One lock over both, so that whoever has seen a write finds it in the history.
        let mut history = self.lock();
        history.push((batch.clone(), durability));
        self.now.commit(batch, durability)
    }

    fn strongest(&self) -> Durability {
        self.now.strongest()
    }

    fn reads_wait(&self) -> bool {
        self.now.reads_wait()
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.now.disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        self.now.compact()
    }
}
