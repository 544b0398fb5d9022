//! A storage in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};

use crate::memory_blobs::MemoryBlobs;
use crate::record_fold::fold_events;
use crate::state_index::StateIndex;

/// Journals, records and blobs in the memory of this process.
///
/// Everything stays until it is removed or the process ends. A long-running host needs a durable
/// storage, or must purge ended evaluations.
#[derive(Default)]
pub struct MemoryStorage {
    state: RwLock<MemoryJournals>,
}

#[derive(Default)]
struct MemoryJournals {
    journals: HashMap<EvaluationId, MemoryJournal>,
    index: StateIndex,
    /// The evaluation of each idempotency key.
    keys: HashMap<TenantKey, EvaluationId>,
    blobs: MemoryBlobs,
}

struct MemoryJournal {
    /// INVARIANT: not empty. The entry with the sequence number `n` is at index `n - 1`.
    events: Vec<Event>,
    /// INVARIANT: the fold of `events`.
    record: Record,
}

/// An idempotency key of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TenantKey {
    tenant: String,
    key: String,
}

impl TenantKey {
    fn of(record: &Record) -> Option<Self> {
        let evaluation = &record.evaluation;
        evaluation
            .idempotency_key
            .clone()
            .map(|key| Self { tenant: evaluation.tenant.clone(), key })
    }
}

impl MemoryStorage {
    /// Creates an empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // Writers check everything before they change anything, so a poisoned lock is usable.
    fn read(&self) -> RwLockReadGuard<'_, MemoryJournals> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, MemoryJournals> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryJournals {
    fn append(
        &mut self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        let current = self.journals.get(&id).map(|journal| &journal.record);
        let actual = current.map_or(0, |record| record.sequence);
        if actual != expected {
            return Err(StorageError::Conflict { evaluation: id, expected, actual });
        }
        let before = current.map(|record| record.state);
        let record = fold_events(id, current, &events)
            .map_err(|source| StorageError::Transition { evaluation: id, source })?;
        // Only the first entry takes a key, and only a refusal releases it.
        let key = TenantKey::of(&record).filter(|_| before.is_none() || record.is_refused());
        if let (None, Some(key)) = (before, &key)
            && let Some(existing) = self.keys.get(key)
        {
            return Err(StorageError::KeyTaken { key: key.key.clone(), existing: *existing });
        }
        self.update_key(key, &record);
        events
            .iter()
            .flat_map(|event| event.kind.blobs())
            .for_each(|digest| self.blobs.add_reference(digest));
        self.index.set(id, before, record.state);
        match self.journals.get_mut(&id) {
            Some(journal) => {
                journal.events.extend(events);
                journal.record = record.clone();
            }
            None => {
                self.journals.insert(id, MemoryJournal { events, record: record.clone() });
            }
        }
        Ok(record)
    }

    fn remove(&mut self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        let Some(MemoryJournal { record, .. }) = self.journals.get(&id) else { return Ok(false) };
        if record.sequence != expected {
            return Err(StorageError::Conflict {
                evaluation: id,
                expected,
                actual: record.sequence,
            });
        }
        if !record.state.is_terminal() {
            return Err(StorageError::NotEnded { evaluation: id, state: record.state });
        }
        let Some(MemoryJournal { events, record }) = self.journals.remove(&id) else {
            return Ok(false);
        };
        self.index.remove(id, record.state);
        if let Some(key) = TenantKey::of(&record)
            && self.keys.get(&key) == Some(&id)
        {
            self.keys.remove(&key);
        }
        events
            .iter()
            .flat_map(|event| event.kind.blobs())
            .for_each(|digest| self.blobs.remove_reference(digest));
        Ok(true)
    }

    /// Stores or releases the idempotency key of a record. A refused record releases its key,
    /// unless another record owns it by now.
    fn update_key(&mut self, key: Option<TenantKey>, record: &Record) {
        let Some(key) = key else { return };
        if !record.is_refused() {
            self.keys.entry(key).or_insert(record.id);
        } else if self.keys.get(&key) == Some(&record.id) {
            self.keys.remove(&key);
        }
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        self.write().append(id, expected, events)
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        Ok(self.read().journals.get(&id).map(|journal| journal.record.clone()))
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        let state = self.read();
        let mut matching = state
            .index
            .ids(query)
            .filter_map(|id| state.journals.get(&id))
            .map(|journal| &journal.record)
            .filter(|record| query.matches(record));
        let records: Vec<Record> = matching.by_ref().take(query.page_size()).cloned().collect();
        let next = records.last().map(|record| record.id).filter(|_| matching.next().is_some());
        Ok(RecordPage::new(records, next))
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        let state = self.read();
        let events =
            state.journals.get(&id).map(|journal| journal.events.as_slice()).unwrap_or_default();
        let seen = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(events.iter().skip(seen).cloned().collect())
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        let digest = Digest::of(&content);
        self.write().blobs.pin(digest, content);
        Ok(digest)
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        Ok(self.read().blobs.get(digest))
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        self.write().remove(id, expected)
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        f.debug_struct("MemoryStorage")
            .field("journals", &state.journals.len())
            .field("blobs", &state.blobs.len())
            .finish()
    }
}
