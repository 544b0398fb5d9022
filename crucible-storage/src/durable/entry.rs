//! Entries of journals as they are kept: small ones in the map, large ones in files.

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event};
use crucible_kv::{seal, seal_written, unseal};

use super::error::{Failure, corrupt};
use super::keys;

/// The largest entry that is kept in the map. What programs write and are given is mostly smaller; maps of all kinds take
/// values of this size without a detour, and larger ones at a price.
pub(super) const INLINE_MAX: usize = 16 * 1024;

/// What most entries have room in.
const ROOM: usize = 2048;

/// What the first byte of a value says.
const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// An entry, ready to be written.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    /// What is to be a file before the map says so.
    pub(super) file: Option<(Digest, Bytes)>,
}

/// An entry, as it was found.
#[derive(Debug)]
pub(super) enum Found {
    Here(Box<Event>),
    InFile(Digest),
}

pub(super) fn encode(event: &Event) -> Result<Encoded, Failure> {
    let key = keys::entry(event.evaluation, event.sequence);
    let what = || name(event.evaluation, event.sequence);
    let mut large = None;
    let value = seal_written(&key, ROOM, |value| {
        value.push(INLINE);
        let start = value.len();
        serde_json::to_writer(&mut *value, event).map_err(|error| corrupt(what(), error))?;
        if value.len() - start > INLINE_MAX {
            large = Some(value.split_off(start));
        }
        Ok::<_, Failure>(())
    })?;
    let Some(text) = large else { return Ok(Encoded { key, value, file: None }) };
    let digest = Digest::of(&text);
    let value = seal(&key, &[&[IN_FILE], &digest.to_bytes()[..]].concat());
    Ok(Encoded { key, value, file: Some((digest, Bytes::from(text))) })
}

/// What a value says of an entry. `None` if it is not what was written.
pub(super) fn decode(key: &[u8], value: &Bytes) -> Option<Found> {
    let value = unseal(key, value)?;
    let (tag, content) = value.split_first()?;
    match *tag {
        INLINE => serde_json::from_slice(content).ok().map(|event| Found::Here(Box::new(event))),
        IN_FILE => Some(Found::InFile(Digest::from_bytes(content.try_into().ok()?))),
        _ => None,
    }
}

/// What an entry is called in errors.
pub(super) fn name(id: EvaluationId, sequence: u64) -> String {
    format!("entry {sequence} of evaluation {id}")
}
