//! Reading evaluations. What does not say otherwise may wait for a disk.

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event, Record};
use crucible_kv::{Generation, Range, Reader, Store, unseal};

use super::entry::{self, Found};
use super::error::{Damage, Failure, corrupt};
use super::files::Files;
use super::keys;
use super::row::Row;

/// How many entries of a journal are read at once.
const ENTRIES: usize = 64;

/// A record, and the row that it was made from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) record: Record,
    /// The row's value as it is in the map: whoever finds the same later knows that nothing has changed.
    pub(super) value: Bytes,
    /// When it was that, or earlier.
    pub(super) moment: Generation,
    /// Whether a part of it is in a file, so that it may be large.
    pub(super) is_large: bool,
}

/// The map and the files, for as long as something is read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) map: Reader<'a>,
    pub(super) files: &'a Files,
}

/// An evaluation was removed while it was read: look again.
struct Gone;

/// An entry that was read.
struct Entry {
    event: Box<Event>,
    is_in_file: bool,
}

impl View<'_> {
    /// An evaluation's record.
    pub(super) fn load(&self, id: EvaluationId) -> Result<Option<Loaded>, Failure> {
        loop {
            let moment = self.map.moment();
            // One after the other: whatever a row says is there stays as it is, and a scan costs more than a few keys.
            let Some(value) = self.map.get(&keys::row(id))? else {
                match self.map.scan(&Range::prefix(keys::evaluation(id)), 1)?.first() {
                    None => return Ok(None),
                    // It came a moment ago.
                    Some((key, _)) if keys::sequence(key) == Some(0) => continue,
                    Some(_) => return Err(corrupt(row_name(id), Damage::Missing)),
                }
            };
            let row = decode_row(id, &value)?;
            let Ok(first) = self.entry(id, 1)? else { continue };
            let last = if row.outcome { Some(self.entry(id, row.sequence)?) } else { None };
            let last = match last {
                Some(Err(Gone)) => continue,
                Some(Ok(last)) => Some(last),
                None => None,
            };
            let record = row.into_record(&first.event, last.as_ref().map(|last| &*last.event));
            let record = record.filter(|record| record.id == id);
            let record = record.ok_or_else(|| corrupt(row_name(id), Damage::Mixed))?;
            let is_large = first.is_in_file || last.is_some_and(|last| last.is_in_file);
            return Ok(Some(Loaded { record, value, moment, is_large }));
        }
    }

    /// An entry that a row says is there.
    fn entry(&self, id: EvaluationId, sequence: u64) -> Result<Result<Entry, Gone>, Failure> {
        let key = keys::entry(id, sequence);
        match self.map.get(&key)? {
            Some(value) => self.decode(id, sequence, &key, &value),
            None => self.gone(id, entry::name(id, sequence)).map(Err),
        }
    }

    fn decode(
        &self,
        id: EvaluationId,
        sequence: u64,
        key: &[u8],
        value: &Bytes,
    ) -> Result<Result<Entry, Gone>, Failure> {
        let what = || entry::name(id, sequence);
        let found = entry::decode(key, value).ok_or_else(|| corrupt(what(), Damage::Changed))?;
        let is_in_file = matches!(found, Found::InFile(_));
        let event: Box<Event> = match found {
            Found::Here(event) => event,
            Found::InFile(digest) => match self.files.read(digest)? {
                None => {
                    let what = format!("{}, the file {digest},", what());
                    return self.gone(id, what).map(Err);
                }
                Some(content) if Digest::of(&content) != digest => {
                    return Err(corrupt(
                        format!("{}, the file {digest},", what()),
                        Damage::Changed,
                    ));
                }
                Some(content) => {
                    serde_json::from_slice(&content).map_err(|error| corrupt(what(), error))?
                }
            },
        };
        if event.evaluation != id || event.sequence != sequence {
            return Err(corrupt(what(), Damage::Mixed));
        }
        Ok(Ok(Entry { event, is_in_file }))
    }

    /// Tells what is missing from what was removed a moment ago.
    fn gone(&self, id: EvaluationId, what: String) -> Result<Gone, Failure> {
        match self.map.get(&keys::row(id))? {
            Some(_) => Err(corrupt(what, Damage::Missing)),
            None => Ok(Gone),
        }
    }

    /// The entries of a journal after the one with the sequence `after`.
    pub(super) fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        let mut next = after.saturating_add(1);
        // Up to here: what is appended meanwhile is for whoever asks later.
        let Some(value) = self.map.get(&keys::row(id))? else { return Ok(events) };
        let length = decode_row(id, &value)?.sequence;
        let all = Range::prefix(keys::evaluation(id));
        while next <= length {
            let before = next;
            let range = all.clone().after(keys::entry(id, next - 1));
            for (key, value) in self.map.scan(&range, ENTRIES)? {
                if next > length || keys::sequence(&key) != Some(next) {
                    break;
                }
                match self.decode(id, next, &key, &value)? {
                    Ok(entry) => events.push(*entry.event),
                    Err(Gone) => return Ok(Vec::new()),
                }
                next += 1;
            }
            if next == before {
                let Gone = self.gone(id, entry::name(id, next))?;
                return Ok(Vec::new());
            }
        }
        Ok(events)
    }

    /// The files that entries of a journal of this length are in; `None` if it was removed meanwhile.
    pub(super) fn entry_files(
        &self,
        id: EvaluationId,
        length: u64,
    ) -> Result<Option<Vec<Digest>>, Failure> {
        let mut digests = Vec::new();
        for sequence in 1..=length {
            let key = keys::entry(id, sequence);
            let what = || entry::name(id, sequence);
            let Some(value) = self.map.get(&key)? else {
                let Gone = self.gone(id, what())?;
                return Ok(None);
            };
            match entry::decode(&key, &value).ok_or_else(|| corrupt(what(), Damage::Changed))? {
                Found::InFile(digest) => digests.push(digest),
                Found::Here(_) => {}
            }
        }
        Ok(Some(digests))
    }

    /// What a file has, if that is what its name says.
    pub(super) fn blob(&self, digest: Digest) -> Result<Option<Bytes>, Failure> {
        let what = || format!("the blob {digest}");
        for _ in 0..2 {
            match self.files.read(digest)? {
                Some(content) if Digest::of(&content) == digest => return Ok(Some(content.into())),
                Some(_) => return Err(corrupt(what(), Damage::Changed)),
                // It may have been named between the two looks, so look twice.
                None if self.map.get(&keys::references(digest))?.is_none() => return Ok(None),
                None => {}
            }
        }
        Err(corrupt(what(), Damage::Missing))
    }
}

/// An evaluation's record, if all of it can be read without waiting: what was written lately can. `None` if it cannot, and if
/// anything is not as it should be, which whoever reads it otherwise finds as well.
pub(super) fn load_at_once(store: &Store, id: EvaluationId) -> Result<Option<Loaded>, Failure> {
    let entry = |sequence| -> Result<Option<Box<Event>>, Failure> {
        let key = keys::entry(id, sequence);
        Ok(store.get_cached(&key)?.flatten().and_then(|value| match entry::decode(&key, &value)? {
            Found::Here(event) => {
                (event.evaluation == id && event.sequence == sequence).then_some(event)
            }
            Found::InFile(_) => None,
        }))
    };
    let moment = store.moment();
    let Some(value) = store.get_cached(&keys::row(id))?.flatten() else { return Ok(None) };
    let Ok(row) = decode_row(id, &value) else { return Ok(None) };
    let Some(first) = entry(1)? else { return Ok(None) };
    let last = if row.outcome { entry(row.sequence)? } else { None };
    let record = row.into_record(&first, last.as_deref()).filter(|record| record.id == id);
    // A copy: what is in memory there may be a part of something larger.
    let value = Bytes::copy_from_slice(&value);
    Ok(record.map(|record| Loaded { record, value, moment, is_large: false }))
}

pub(super) fn decode_row(id: EvaluationId, value: &Bytes) -> Result<Row, Failure> {
    let content =
        unseal(&keys::row(id), value).ok_or_else(|| corrupt(row_name(id), Damage::Changed))?;
    serde_json::from_slice(&content).map_err(|error| corrupt(row_name(id), error))
}

/// What a row is called in errors.
pub(super) fn row_name(id: EvaluationId) -> String {
    format!("the record of evaluation {id}")
}
