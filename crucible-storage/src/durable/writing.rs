//! Writing: what is checked and encoded before its turn, and what happens in it.

use std::collections::BTreeSet;

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event, Record, StorageError, Timestamp};
use crucible_kv::{Generation, Transaction, seal, unseal};

use super::entry::{self, Encoded};
use super::error::{Damage, Failure, corrupt};
use super::reading::{Loaded, decode_row, row_name};
use super::row::Row;
use super::{buckets, keys, references};
use crate::fold::follow;

/// Events that follow from a record, ready to be written.
#[derive(Debug)]
pub(super) struct Append {
    id: EvaluationId,
    expected: u64,
    /// The row that the journal was when the events were found to follow; `None` if there was none.
    before: Option<(Bytes, Generation)>,
    pub(super) row: Bytes,
    entries: Vec<(Bytes, Bytes)>,
    /// What is to be a file before this is written.
    pub(super) files: Vec<(Digest, Bytes)>,
    /// The artifacts that the events name.
    pub(super) named: Vec<Digest>,
    places_left: BTreeSet<Bytes>,
    places_taken: BTreeSet<Bytes>,
    key: Option<KeyChange>,
    /// When it was submitted, if that is what this writes.
    submitted: Option<Timestamp>,
}

/// What becomes of a tenant's idempotency key.
#[derive(Debug)]
struct KeyChange {
    place: Bytes,
    key: String,
    /// Whether it must not be another's yet.
    is_new: bool,
    /// Whether the evaluation has it afterwards. One that was refused has not.
    is_kept: bool,
}

impl Append {
    /// Checks that events follow, and gives the record that does.
    pub(super) fn prepare(
        id: EvaluationId,
        expected: u64,
        current: Option<&Loaded>,
        events: &[Event],
    ) -> Result<(Self, Record), Failure> {
        let before = current.map(|loaded| &loaded.record);
        let actual = before.map_or(0, |record| record.sequence);
        if actual != expected {
            return Err(StorageError::Conflict { evaluation: id, expected, actual }.into());
        }
        let record = follow(id, before, events)
            .map_err(|source| StorageError::Transition { evaluation: id, source })?;
        let (mut entries, mut files) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            let Encoded { key, value, file } = entry::encode(event)?;
            entries.push((key, value));
            files.extend(file);
        }
        let row = Row::of(&record)
            .encode(&keys::row(id))
            .map_err(|error| corrupt(row_name(id), error))?;
        let (old, new) = (before.map(keys::places).unwrap_or_default(), keys::places(&record));
        let append = Self {
            id,
            expected,
            before: current.map(|loaded| (loaded.value.clone(), loaded.moment)),
            row,
            entries,
            files,
            named: events.iter().flat_map(|event| event.kind.blobs()).collect(),
            places_left: old.difference(&new).cloned().collect(),
            places_taken: new.difference(&old).cloned().collect(),
            key: KeyChange::of(before, &record),
            submitted: before.is_none().then_some(record.submitted_at),
        };
        Ok((append, record))
    }

    /// Writes the events, unless somebody else wrote first.
    pub(super) fn write(self, map: &mut Transaction<'_>) -> Result<(), Failure> {
        let Self { id, expected, .. } = self;
        let row = keys::row(id);
        let follows = match &self.before {
            Some((value, moment)) => map.is_still(&row, Some(value), *moment)?,
            None => map.get(&row)?.is_none(),
        };
        if !follows {
            let now = map.get(&row)?;
            let actual =
                now.map(|now| decode_row(id, &now)).transpose()?.map_or(0, |row| row.sequence);
            return Err(StorageError::Conflict { evaluation: id, expected, actual }.into());
        }
        if let Some(key) = self.key {
            key.write(id, map)?;
        }
        if let Some(submitted) = self.submitted {
            buckets::add(map, id, submitted)?;
        }
        for digest in self.named.into_iter().chain(self.files.iter().map(|(digest, _)| *digest)) {
            references::add(map, digest)?;
        }
        self.places_left.into_iter().for_each(|place| map.delete(place));
        self.places_taken.into_iter().for_each(|place| map.put(place, Bytes::new()));
        self.entries.into_iter().for_each(|(key, value)| map.put(key, value));
        map.put(row, self.row);
        Ok(())
    }
}

impl KeyChange {
    fn of(before: Option<&Record>, record: &Record) -> Option<Self> {
        let is_new = before.is_none();
        let is_kept = !record.is_refused();
        // Only the first entry can take a key, and only a refusal gives it back.
        if !is_new && is_kept {
            return None;
        }
        let key = record.evaluation.idempotency_key.clone()?;
        let place = keys::idempotency(&record.evaluation.tenant, &key);
        Some(Self { place, key, is_new, is_kept })
    }

    fn write(self, id: EvaluationId, map: &mut Transaction<'_>) -> Result<(), Failure> {
        match owner(map, &self.place)? {
            Some(existing) if self.is_new => {
                return Err(StorageError::KeyTaken { key: self.key, existing }.into());
            }
            Some(existing) if existing == id && !self.is_kept => map.delete(self.place),
            None if self.is_kept => {
                let value = seal(&self.place, &id.to_bytes());
                map.put(self.place, value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The evaluation that has an idempotency key.
fn owner(map: &Transaction<'_>, place: &[u8]) -> Result<Option<EvaluationId>, Failure> {
    let Some(value) = map.get(place)? else { return Ok(None) };
    let id = unseal(place, &value)
        .and_then(|id| Some(EvaluationId::from_bytes(id.as_ref().try_into().ok()?)));
    id.map(Some).ok_or_else(|| corrupt("an idempotency key", Damage::Changed))
}

/// An evaluation that has ended, ready to be removed.
#[derive(Debug)]
pub(super) struct Removal {
    id: EvaluationId,
    expected: u64,
    before: Bytes,
    places: BTreeSet<Bytes>,
    key: Option<Bytes>,
    submitted_at: Timestamp,
    /// The files that its entries are in, and the artifacts that they name, each as often as it is named.
    pub(super) named: Vec<Digest>,
}

impl Removal {
    /// Checks that an evaluation can be removed. `named` is what its entries name.
    pub(super) fn prepare(
        loaded: Loaded,
        expected: u64,
        named: Vec<Digest>,
    ) -> Result<Self, Failure> {
        let Loaded { record, value, .. } = loaded;
        let evaluation = record.id;
        if record.sequence != expected {
            return Err(
                StorageError::Conflict { evaluation, expected, actual: record.sequence }.into()
            );
        }
        if !record.state.is_terminal() {
            return Err(StorageError::NotEnded { evaluation, state: record.state }.into());
        }
        let key = record.evaluation.idempotency_key.as_deref();
        Ok(Self {
            id: evaluation,
            expected,
            before: value,
            places: keys::places(&record),
            key: key.map(|key| keys::idempotency(&record.evaluation.tenant, key)),
            submitted_at: record.submitted_at,
            named,
        })
    }

    /// Removes it. `false` if somebody else did.
    pub(super) fn write(&self, map: &mut Transaction<'_>) -> Result<bool, Failure> {
        let id = self.id;
        match map.get(&keys::row(id))? {
            None => return Ok(false),
            Some(now) if now == self.before => {}
            // Nothing can follow on an end, but it can be removed and, in theory, be there again.
            Some(now) => {
                let actual = decode_row(id, &now)?.sequence;
                return Err(StorageError::Conflict {
                    evaluation: id,
                    expected: self.expected,
                    actual,
                }
                .into());
            }
        }
        if let Some(place) = &self.key
            && owner(map, place)? == Some(id)
        {
            map.delete(place.clone());
        }
        buckets::remove(map, self.submitted_at)?;
        for digest in &self.named {
            references::remove(map, *digest)?;
        }
        self.places.iter().for_each(|place| map.delete(place.clone()));
        (0..=self.expected).for_each(|sequence| map.delete(keys::entry(id, sequence)));
        Ok(true)
    }
}
