//! Records that were read or written lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crucible_core::EvaluationId;

use super::reading::Loaded;

/// How many records there are in a generation: some for each worker of a large host. The largest entry that a map has is 16 KiB, so
/// that two generations of them take 8 MiB at the most.
const GENERATION: usize = 256;

/// Records that have not ended, with the rows that they were made from. A step in an evaluation's life is mostly soon followed by
/// the next one, which then need not read what the last one wrote.
///
/// A record may be older than what the map has: whoever uses it holds its row against the map's.
#[derive(Default)]
pub(super) struct Known(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<EvaluationId, Arc<Loaded>>,
    old: HashMap<EvaluationId, Arc<Loaded>>,
}

impl Known {
    pub(super) fn get(&self, id: EvaluationId) -> Option<Arc<Loaded>> {
        let generations = self.lock();
        generations.young.get(&id).or_else(|| generations.old.get(&id)).cloned()
    }

    /// Keeps a record for as long as it is not among the oldest, unless it has ended or is large.
    pub(super) fn keep(&self, loaded: Arc<Loaded>) {
        let id = loaded.record.id;
        if loaded.record.state.is_terminal() || loaded.is_large {
            return self.forget(id);
        }
        let mut generations = self.lock();
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(id, loaded);
    }

    pub(super) fn forget(&self, id: EvaluationId) {
        let mut generations = self.lock();
        generations.young.remove(&id);
        generations.old.remove(&id);
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
