//! The stored form of journal entries: small ones in the store, large ones in files.

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event};
use crucible_kv::{add_checksum, verify_checksum, write_with_checksum};

use super::error::{StorageFailure, corrupt};
use super::keys;

/// The maximum size of an entry in the store. Most inputs and outputs are smaller. Every backend
/// stores values of this size efficiently.
pub(super) const INLINE_MAX: usize = 16 * 1024;

/// The expected length of an encoded entry.
const ENCODED_BYTES: usize = 2048;

/// The first byte of a value that contains the entry.
const INLINE: u8 = 0;

/// The first byte of a value that contains the digest of a file with the entry.
const IN_FILE: u8 = 1;

/// An encoded entry.
#[derive(Debug)]
pub(super) struct EncodedEntry {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    /// The file that must exist before the store contains the value.
    pub(super) file: Option<(Digest, Bytes)>,
}

/// A decoded value.
#[derive(Debug)]
pub(super) enum StoredEntry {
    Inline(Box<Event>),
    File(Digest),
}

impl EncodedEntry {
    /// Encodes an event.
    pub(super) fn of(event: &Event) -> Result<Self, StorageFailure> {
        let key = keys::entry(event.evaluation, event.sequence);
        let what = || name(event.evaluation, event.sequence);
        let mut large = None;
        let value = write_with_checksum(&key, ENCODED_BYTES, |value| {
            value.push(INLINE);
            let start = value.len();
            serde_json::to_writer(&mut *value, event).map_err(|error| corrupt(what(), error))?;
            if value.len() - start > INLINE_MAX {
                large = Some(value.split_off(start));
            }
            Ok::<_, StorageFailure>(())
        })?;
        let Some(text) = large else { return Ok(Self { key, value, file: None }) };
        let digest = Digest::of(&text);
        let value = add_checksum(&key, &[&[IN_FILE], &digest.to_bytes()[..]].concat());
        Ok(Self { key, value, file: Some((digest, Bytes::from(text))) })
    }
}

impl StoredEntry {
    /// Decodes a value. Returns `None` if it is corrupt.
    pub(super) fn decode(key: &[u8], value: &Bytes) -> Option<Self> {
        let value = verify_checksum(key, value)?;
        let (tag, content) = value.split_first()?;
        match *tag {
            INLINE => {
                serde_json::from_slice(content).ok().map(|event| Self::Inline(Box::new(event)))
            }
            IN_FILE => Some(Self::File(Digest::from_bytes(content.try_into().ok()?))),
            _ => None,
        }
    }
}

/// Returns the name of an entry for errors.
pub(super) fn name(id: EvaluationId, sequence: u64) -> String {
    format!("entry {sequence} of evaluation {id}")
}
