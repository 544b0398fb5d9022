//! A cache of recently used records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crucible_core::EvaluationId;

use super::storage_view::LoadedRecord;

/// The number of records in a generation: a few for each worker of a large host. An inline entry
/// has at most 16 KiB, so two generations use at most 8 MiB.
const GENERATION: usize = 256;

/// Records that have not ended, with the rows that they were built from.
///
/// A state change is mostly followed by another one soon, which then needs no read of the store. A
/// cached record may be outdated: the user compares its row with the row in the store.
#[derive(Default)]
pub(super) struct RecordCache(Mutex<CacheGenerations>);

#[derive(Default)]
struct CacheGenerations {
    young: HashMap<EvaluationId, Arc<LoadedRecord>>,
    old: HashMap<EvaluationId, Arc<LoadedRecord>>,
}

impl RecordCache {
    /// Returns the cached record of an evaluation.
    pub(super) fn get(&self, id: EvaluationId) -> Option<Arc<LoadedRecord>> {
        let generations = self.lock();
        generations.young.get(&id).or_else(|| generations.old.get(&id)).cloned()
    }

    /// Caches a record, unless it has ended or is large.
    pub(super) fn insert(&self, loaded: Arc<LoadedRecord>) {
        let id = loaded.record.id;
        if loaded.record.state.is_terminal() || loaded.is_large {
            return self.remove(id);
        }
        let mut generations = self.lock();
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(id, loaded);
    }

    /// Removes the record of an evaluation.
    pub(super) fn remove(&self, id: EvaluationId) {
        let mut generations = self.lock();
        generations.young.remove(&id);
        generations.old.remove(&id);
    }

    /// Locks the cache. No code under the lock can panic half-way, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, CacheGenerations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
