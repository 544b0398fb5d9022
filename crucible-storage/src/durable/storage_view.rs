//! Reading evaluations from the store and from files.

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event, Record};
use crucible_kv::{Generation, Range, Store, StoreReader};

use super::blob_files::BlobFiles;
use super::error::{Corruption, StorageFailure, corrupt};
use super::journal_entry::{self, StoredEntry};
use super::record_row::{self, RecordRow};
use super::{blob_references, keys};

/// The number of journal entries that are read at a time.
const PAGE_SIZE: usize = 64;

/// A record, and the row that it was built from.
#[derive(Debug)]
pub(super) struct LoadedRecord {
    pub(super) record: Record,
    /// The encoded row. If the store has the same value later, nothing has changed.
    pub(super) row: Bytes,
    /// The generation before the row was read.
    pub(super) generation: Generation,
    /// Whether a part of the record is in a file.
    pub(super) is_large: bool,
}

/// The store and the files during a read. All functions may wait for a disk.
#[derive(Clone, Copy)]
pub(super) struct StorageView<'a> {
    pub(super) map: StoreReader<'a>,
    pub(super) files: &'a BlobFiles,
}

/// The evaluation was removed during the read. The caller reads again.
struct Removed;

/// A decoded journal entry.
struct LoadedEntry {
    event: Box<Event>,
    is_in_file: bool,
}

impl StorageView<'_> {
    /// Returns the record of an evaluation.
    pub(super) fn load(&self, id: EvaluationId) -> Result<Option<LoadedRecord>, StorageFailure> {
        loop {
            let generation = self.map.generation();
            // Read single keys: entries never change, and a scan costs more than a few reads.
            let Some(value) = self.map.get(&keys::row(id))? else {
                match self.map.scan(&Range::prefix(keys::evaluation(id)), 1)?.first() {
                    None => return Ok(None),
                    // The row was written between the two reads.
                    Some((key, _)) if keys::sequence(key) == Some(0) => continue,
                    Some(_) => return Err(corrupt(record_row::name(id), Corruption::Missing)),
                }
            };
            let row = RecordRow::decode(id, &value)?;
            let Ok(first) = self.entry(id, 1)? else { continue };
            let last = if row.has_outcome { Some(self.entry(id, row.sequence)?) } else { None };
            let last = match last {
                Some(Err(Removed)) => continue,
                Some(Ok(last)) => Some(last),
                None => None,
            };
            let record = row.into_record(&first.event, last.as_ref().map(|last| &*last.event));
            let record = record.filter(|record| record.id == id);
            let record = record.ok_or_else(|| corrupt(record_row::name(id), Corruption::Mixed))?;
            let is_large = first.is_in_file || last.is_some_and(|last| last.is_in_file);
            return Ok(Some(LoadedRecord { record, row: value, generation, is_large }));
        }
    }

    /// Returns an entry that must exist according to the row.
    fn entry(
        &self,
        id: EvaluationId,
        sequence: u64,
    ) -> Result<Result<LoadedEntry, Removed>, StorageFailure> {
        let key = keys::entry(id, sequence);
        match self.map.get(&key)? {
            Some(value) => self.decode(id, sequence, &key, &value),
            None => self.check_removed(id, journal_entry::name(id, sequence)).map(Err),
        }
    }

    fn decode(
        &self,
        id: EvaluationId,
        sequence: u64,
        key: &[u8],
        value: &Bytes,
    ) -> Result<Result<LoadedEntry, Removed>, StorageFailure> {
        let what = || journal_entry::name(id, sequence);
        let stored =
            StoredEntry::decode(key, value).ok_or_else(|| corrupt(what(), Corruption::Changed))?;
        let is_in_file = matches!(stored, StoredEntry::File(_));
        let event: Box<Event> = match stored {
            StoredEntry::Inline(event) => event,
            StoredEntry::File(digest) => match self.files.read(digest)? {
                None => {
                    let what = format!("{}, the file {digest},", what());
                    return self.check_removed(id, what).map(Err);
                }
                Some(content) if Digest::of(&content) != digest => {
                    let what = format!("{}, the file {digest},", what());
                    return Err(corrupt(what, Corruption::Changed));
                }
                Some(content) => {
                    serde_json::from_slice(&content).map_err(|error| corrupt(what(), error))?
                }
            },
        };
        if event.evaluation != id || event.sequence != sequence {
            return Err(corrupt(what(), Corruption::Mixed));
        }
        Ok(Ok(LoadedEntry { event, is_in_file }))
    }

    /// Returns [`Removed`] if the evaluation was removed meanwhile, and otherwise an error for the
    /// missing item.
    fn check_removed(&self, id: EvaluationId, what: String) -> Result<Removed, StorageFailure> {
        match self.map.get(&keys::row(id))? {
            Some(_) => Err(corrupt(what, Corruption::Missing)),
            None => Ok(Removed),
        }
    }

    /// Returns the entries of a journal after the sequence number `after`.
    pub(super) fn journal(
        &self,
        id: EvaluationId,
        after: u64,
    ) -> Result<Vec<Event>, StorageFailure> {
        let mut events = Vec::new();
        let mut next = after.saturating_add(1);
        // Stop at the current length. Entries that are appended meanwhile are for a later call.
        let Some(value) = self.map.get(&keys::row(id))? else { return Ok(events) };
        let length = RecordRow::decode(id, &value)?.sequence;
        let all = Range::prefix(keys::evaluation(id));
        while next <= length {
            let before = next;
            let range = all.clone().after(keys::entry(id, next - 1));
            for (key, value) in self.map.scan(&range, PAGE_SIZE)? {
                if next > length || keys::sequence(&key) != Some(next) {
                    break;
                }
                match self.decode(id, next, &key, &value)? {
                    Ok(entry) => events.push(*entry.event),
                    Err(Removed) => return Ok(Vec::new()),
                }
                next += 1;
            }
            if next == before {
                let Removed = self.check_removed(id, journal_entry::name(id, next))?;
                return Ok(Vec::new());
            }
        }
        Ok(events)
    }

    /// Returns the files of the large entries in a journal of this length; `None` if the evaluation
    /// was removed meanwhile.
    pub(super) fn entry_files(
        &self,
        id: EvaluationId,
        length: u64,
    ) -> Result<Option<Vec<Digest>>, StorageFailure> {
        let mut digests = Vec::new();
        for sequence in 1..=length {
            let key = keys::entry(id, sequence);
            let what = || journal_entry::name(id, sequence);
            let Some(value) = self.map.get(&key)? else {
                let Removed = self.check_removed(id, what())?;
                return Ok(None);
            };
            let stored = StoredEntry::decode(&key, &value)
                .ok_or_else(|| corrupt(what(), Corruption::Changed))?;
            match stored {
                StoredEntry::File(digest) => digests.push(digest),
                StoredEntry::Inline(_) => {}
            }
        }
        Ok(Some(digests))
    }

    /// Returns the verified content of a blob.
    pub(super) fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageFailure> {
        let what = || format!("the blob {digest}");
        for _ in 0..2 {
            match self.files.read(digest)? {
                Some(content) if Digest::of(&content) == digest => return Ok(Some(content.into())),
                Some(_) => return Err(corrupt(what(), Corruption::Changed)),
                None if !blob_references::exists(self.map, digest)? => return Ok(None),
                // The file may have been written between the two reads, so read once more.
                None => {}
            }
        }
        Err(corrupt(what(), Corruption::Missing))
    }
}

impl LoadedRecord {
    /// Returns the record of an evaluation if all of it is in memory, as recent writes are. Returns
    /// `None` otherwise, and also if something is corrupt: [`StorageView::load`] reports that.
    pub(super) fn load_cached(
        store: &Store,
        id: EvaluationId,
    ) -> Result<Option<Self>, StorageFailure> {
        let entry = |sequence| -> Result<Option<Box<Event>>, StorageFailure> {
            let key = keys::entry(id, sequence);
            let Some(value) = store.get_cached(&key)?.flatten() else { return Ok(None) };
            Ok(StoredEntry::decode(&key, &value).and_then(|stored| match stored {
                StoredEntry::Inline(event) => {
                    (event.evaluation == id && event.sequence == sequence).then_some(event)
                }
                StoredEntry::File(_) => None,
            }))
        };
        let generation = store.generation();
        let Some(value) = store.get_cached(&keys::row(id))?.flatten() else { return Ok(None) };
        let Ok(row) = RecordRow::decode(id, &value) else { return Ok(None) };
        let Some(first) = entry(1)? else { return Ok(None) };
        let last = if row.has_outcome { entry(row.sequence)? } else { None };
        let record = row.into_record(&first, last.as_deref()).filter(|record| record.id == id);
        // Copy the row: the cached bytes may be a slice of a larger allocation.
        let row = Bytes::copy_from_slice(&value);
        Ok(record.map(|record| Self { record, row, generation, is_large: false }))
    }
}
