//! The version number that a user of a store keeps under a key.

use crate::{KvError, Transaction};

/// Returns the layout version stored under `key`, or `None` if the key has no value.
///
/// Versions are decimal numbers and count from 1. `what` names the version in errors.
///
/// # Errors
/// Returns [`KvError::Corrupt`] if the value is not such a number, or the error of the read.
pub fn layout_version(
    map: &Transaction<'_>,
    key: &[u8],
    what: &str,
) -> Result<Option<u32>, KvError> {
    let Some(text) = map.get(key)? else { return Ok(None) };
    let parsed = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    match parsed.filter(|version| *version > 0) {
        Some(version) => Ok(Some(version)),
        None => Err(KvError::Corrupt { what: what.into(), source: None }),
    }
}
