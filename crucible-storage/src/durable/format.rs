//! Which layout a storage has, and how an older one becomes the newest.

use bytes::Bytes;
use crucible_kv::{KvError, Range, Store, Transaction, WriteError};

use super::open::OpenError;
use super::reading::decode_row;
use super::{buckets, keys};

/// The version of the layout that [`keys`] describes, and of the values in it.
///
/// - 1: the first one.
/// - 2: submission times have buckets of a second and of ten minutes; before, of ten minutes alone.
///
/// Another one needs a step in [`STEPS`], and a fixture that was written by this one.
pub(super) const VERSION: u32 = 2;

/// Makes a layout from the one before it, within the write that says so.
type Step = fn(&mut Transaction<'_>) -> Result<(), KvError>;

/// The step from version `n + 1` is at `n`.
const STEPS: [Step; VERSION as usize - 1] = [buckets_of_seconds];

/// How many keys are read at once.
const AT_ONCE: usize = 1024;

/// Makes sure that the layout is the one that this crate reads and writes.
pub(super) async fn check(store: &Store) -> Result<(), OpenError> {
    store.write(check_in).await.map_err(|error| match error {
        WriteError::Aborted(error) => error,
        WriteError::Store(error) => OpenError::Map(error),
    })
}

fn check_in(map: &mut Transaction<'_>) -> Result<(), OpenError> {
    let found = match map.get(keys::FORMAT)? {
        None => VERSION,
        Some(text) => parse(&text).ok_or_else(|| {
            OpenError::Map(KvError::Corrupt {
                what: "the version of the storage".into(),
                source: None,
            })
        })?,
    };
    if found > VERSION {
        return Err(OpenError::TooNew { found, supported: VERSION });
    }
    for step in STEPS.iter().skip(found as usize - 1) {
        step(map)?;
    }
    map.put(keys::FORMAT, Bytes::from(VERSION.to_string()));
    Ok(())
}

/// Versions count from 1.
fn parse(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|version| *version > 0)
}

/// From 1 to 2: makes all buckets anew from the rows. The time of a row that cannot be read is not known, and its record
/// cannot be read either.
fn buckets_of_seconds(map: &mut Transaction<'_>) -> Result<(), KvError> {
    each(map, keys::BUCKETS, |map, key, _| {
        map.delete(key);
        Ok(())
    })?;
    each(map, keys::EVALUATIONS, |map, key, value| {
        let id = keys::row_of(&key);
        match id.and_then(|id| Some((id, decode_row(id, &value).ok()?))) {
            Some((id, row)) => buckets::add(map, id, row.submitted_at),
            None => Ok(()),
        }
    })
}

/// Does something with each key that begins with `prefix`.
fn each(
    map: &mut Transaction<'_>,
    prefix: &'static [u8],
    mut act: impl FnMut(&mut Transaction<'_>, Bytes, Bytes) -> Result<(), KvError>,
) -> Result<(), KvError> {
    let mut range = Range::prefix(prefix);
    loop {
        let found = map.scan(&range, AT_ONCE)?;
        let Some((last, _)) = found.last() else { return Ok(()) };
        range = range.after(last.clone());
        for (key, value) in found {
            act(map, key, value)?;
        }
    }
}
