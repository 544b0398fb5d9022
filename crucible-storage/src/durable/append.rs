//! An append to a journal.

use std::collections::BTreeSet;

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event, Record, StorageError, Timestamp};
use crucible_kv::{Generation, Transaction};

use super::error::StorageFailure;
use super::idempotency_key::KeyChange;
use super::journal_entry::EncodedEntry;
use super::record_row::RecordRow;
use super::storage_view::LoadedRecord;
use super::{blob_references, keys, time_index};
use crate::record_fold::fold_events;

/// An append that was checked and encoded outside the writer thread.
#[derive(Debug)]
pub(super) struct Append {
    id: EvaluationId,
    expected: u64,
    /// The row that the events continue, and the generation of its read; `None` for a new journal.
    before: Option<(Bytes, Generation)>,
    pub(super) row: Bytes,
    entries: Vec<(Bytes, Bytes)>,
    /// The files of large entries. They must exist before the write.
    pub(super) files: Vec<(Digest, Bytes)>,
    /// The artifacts that the events refer to.
    pub(super) artifacts: Vec<Digest>,
    removed_index_keys: BTreeSet<Bytes>,
    added_index_keys: BTreeSet<Bytes>,
    key: Option<KeyChange>,
    /// The submission time of a new journal.
    submitted: Option<Timestamp>,
}

impl Append {
    /// Checks that events continue a record, encodes them, and returns the next record.
    pub(super) fn prepare(
        id: EvaluationId,
        expected: u64,
        current: Option<&LoadedRecord>,
        events: &[Event],
    ) -> Result<(Self, Record), StorageFailure> {
        let before = current.map(|loaded| &loaded.record);
        let actual = before.map_or(0, |record| record.sequence);
        if actual != expected {
            return Err(StorageError::Conflict { evaluation: id, expected, actual }.into());
        }
        let record = fold_events(id, before, events)
            .map_err(|source| StorageError::Transition { evaluation: id, source })?;
        let (mut entries, mut files) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            let EncodedEntry { key, value, file } = EncodedEntry::of(event)?;
            entries.push((key, value));
            files.extend(file);
        }
        let (old, new) =
            (before.map(keys::index_keys).unwrap_or_default(), keys::index_keys(&record));
        let append = Self {
            id,
            expected,
            before: current.map(|loaded| (loaded.row.clone(), loaded.generation)),
            row: RecordRow::of(&record).encode(id)?,
            entries,
            files,
            artifacts: events.iter().flat_map(|event| event.kind.blobs()).collect(),
            removed_index_keys: old.difference(&new).cloned().collect(),
            added_index_keys: new.difference(&old).cloned().collect(),
            key: KeyChange::of(before, &record),
            submitted: before.is_none().then_some(record.submitted_at),
        };
        Ok((append, record))
    }

    /// Writes the events. Returns a conflict if another writer has changed the journal.
    pub(super) fn write(self, map: &mut Transaction<'_>) -> Result<(), StorageFailure> {
        let Self { id, expected, .. } = self;
        let row_key = keys::row(id);
        let is_current = match &self.before {
            Some((row, generation)) => map.is_unchanged(&row_key, Some(row), *generation)?,
            None => map.get(&row_key)?.is_none(),
        };
        if !is_current {
            let row = map.get(&row_key)?.map(|row| RecordRow::decode(id, &row)).transpose()?;
            let actual = row.map_or(0, |row| row.sequence);
            return Err(StorageError::Conflict { evaluation: id, expected, actual }.into());
        }
        if let Some(key) = self.key {
            key.write(id, map)?;
        }
        if let Some(submitted) = self.submitted {
            time_index::add(map, id, submitted)?;
        }
        let files = self.files.iter().map(|(digest, _)| *digest);
        for digest in self.artifacts.into_iter().chain(files) {
            blob_references::add(map, digest)?;
        }
        self.removed_index_keys.into_iter().for_each(|key| map.delete(key));
        self.added_index_keys.into_iter().for_each(|key| map.put(key, Bytes::new()));
        self.entries.into_iter().for_each(|(key, value)| map.put(key, value));
        map.put(row_key, self.row);
        Ok(())
    }
}
