//! A storage in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};

use crate::blobs::Blobs;
use crate::fold::follow;
use crate::index::Index;

/// Journals, records and blobs in this process's memory. They are gone with the process, and until then they stay:
/// a host that runs for long wants a durable storage, or a new platform from time to time.
#[derive(Default)]
pub struct MemoryStorage {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    journals: HashMap<EvaluationId, Journal>,
    index: Index,
    /// Which evaluation has a tenant's idempotency key.
    keys: HashMap<Key, EvaluationId>,
    blobs: Blobs,
}

struct Journal {
    /// INVARIANT: not empty; the entry with the sequence `n` is at `n - 1`.
    events: Vec<Event>,
    /// INVARIANT: the fold of `events`.
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    key: String,
}

impl Key {
    fn of(record: &Record) -> Option<Self> {
        let evaluation = &record.evaluation;
        evaluation
            .idempotency_key
            .clone()
            .map(|key| Self { tenant: evaluation.tenant.clone(), key })
    }
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // Everything is checked before anything is changed, so a panic elsewhere finds nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
        let record = follow(id, current, &events)
            .map_err(|source| StorageError::Transition { evaluation: id, source })?;
        // Only the first entry can take a key, and only a refusal gives it back.
        let key = Key::of(&record).filter(|_| before.is_none() || record.is_refused());
        if let (None, Some(key)) = (before, &key)
            && let Some(existing) = self.keys.get(key)
        {
            return Err(StorageError::KeyTaken { key: key.key.clone(), existing: *existing });
        }
        self.keep_key(key, &record);
        events
            .iter()
            .flat_map(|event| event.kind.blobs())
            .for_each(|digest| self.blobs.name(digest));
        self.index.set(id, before, record.state);
        match self.journals.get_mut(&id) {
            Some(journal) => {
                journal.events.extend(events);
                journal.record = record.clone();
            }
            None => {
                self.journals.insert(id, Journal { events, record: record.clone() });
            }
        }
        Ok(record)
    }

    fn remove(&mut self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        let Some(Journal { record, .. }) = self.journals.get(&id) else { return Ok(false) };
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
        let Some(Journal { events, record }) = self.journals.remove(&id) else { return Ok(false) };
        self.index.remove(id, record.state);
        if let Some(key) = Key::of(&record)
            && self.keys.get(&key) == Some(&id)
        {
            self.keys.remove(&key);
        }
        events
            .iter()
            .flat_map(|event| event.kind.blobs())
            .for_each(|digest| self.blobs.forget(digest));
        Ok(true)
    }

    /// A record that was never accepted has no right to its key any more; whoever has it since keeps it.
    fn keep_key(&mut self, key: Option<Key>, record: &Record) {
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
        self.write().blobs.keep(digest, content);
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
