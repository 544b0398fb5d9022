//! The highest key of each key kind in a tree.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

/// The length of the key prefix that forms a kind.
const KIND_BYTES: usize = 2;

/// The maximum number of tracked kinds. Keys of other kinds are looked up in the tree.
const KINDS_MAX: usize = 256;

/// The prefix of a key.
pub(super) type KeyKind = [u8; KIND_BYTES];

/// The highest key of each kind.
///
/// Most keys begin with a kind and continue with a value that grows over time. A new key then comes
/// after all keys of its kind, and its absence from the tree is known without a lookup.
#[derive(Debug, Default)]
pub(super) struct HighestKeys(RwLock<HashMap<KeyKind, Bytes>>);

impl HighestKeys {
    /// Returns `true` if the tree certainly has no key of this kind at or after `key`.
    pub(super) fn is_before(&self, key: &[u8]) -> bool {
        let Some(kind) = key.first_chunk() else { return false };
        let highest = self.0.read().unwrap_or_else(PoisonError::into_inner);
        highest.get(kind).is_some_and(|highest| **highest < *key)
    }

    /// Records a key before it is written to the tree. Only the thread that writes to the tree may
    /// call this. `find` returns the highest stored key of a kind that is not tracked yet.
    pub(super) fn raise<E>(
        &self,
        key: &Bytes,
        find: impl FnOnce(KeyKind) -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        let Some(kind) = key.first_chunk() else { return Ok(()) };
        let known = {
            let highest = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if highest.len() >= KINDS_MAX && !highest.contains_key(kind) {
                return Ok(());
            }
            highest.get(kind).cloned()
        };
        let found = if known.is_some() { known } else { find(*kind)? };
        let highest = found.map_or_else(|| key.clone(), |found| found.max(key.clone()));
        // Copy the key: the given bytes may be a slice of a larger allocation.
        let highest = Bytes::copy_from_slice(&highest);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(*kind, highest);
        Ok(())
    }
}

/// Returns the last key of each kind in an ordered sequence of keys.
pub(super) fn last_of_each<'a>(keys: impl Iterator<Item = &'a Bytes>) -> Vec<&'a Bytes> {
    let mut last: Vec<&Bytes> = Vec::new();
    for key in keys {
        match last.last_mut() {
            Some(before) if before.get(..KIND_BYTES) == key.get(..KIND_BYTES) => *before = key,
            _ => last.push(key),
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn raise(highest: &HighestKeys, key: &'static str, stored: Option<&'static str>) {
        let find = |_| Ok::<_, Infallible>(stored.map(Bytes::from));
        highest.raise(&Bytes::from(key), find).unwrap();
    }

    #[test]
    fn key_after_highest_of_its_kind_is_absent() {
        let highest = HighestKeys::default();
        assert!(!highest.is_before(b"aa9"), "no kind is tracked yet");
        raise(&highest, "aa3", Some("aa5"));
        assert!(highest.is_before(b"aa6") && highest.is_before(b"aa50"));
        assert!(
            !highest.is_before(b"aa5") && !highest.is_before(b"aa4") && !highest.is_before(b"aa")
        );
        assert!(!highest.is_before(b"ab9") && !highest.is_before(b"a") && !highest.is_before(b""));
        // The tree is searched once for each kind.
        raise(&highest, "aa7", None);
        raise(&highest, "aa1", None);
        assert!(highest.is_before(b"aa8") && !highest.is_before(b"aa7"));
    }

    #[test]
    fn kind_without_stored_keys_starts_at_first_key() {
        let highest = HighestKeys::default();
        raise(&highest, "aa3", None);
        assert!(highest.is_before(b"aa4") && !highest.is_before(b"aa3"));
    }

    #[test]
    fn number_of_tracked_kinds_is_bounded() {
        let highest = HighestKeys::default();
        for kind in 0..=u16::MAX {
            highest
                .raise(&Bytes::copy_from_slice(&kind.to_be_bytes()), |_| Ok::<_, Infallible>(None))
                .unwrap();
        }
        assert_eq!(highest.0.read().unwrap().len(), KINDS_MAX);
        assert!(!highest.is_before(&[0xff, 0xff, 1]), "an untracked kind needs a lookup");
        assert!(highest.is_before(&[0, 0, 1]));
    }

    #[test]
    fn last_of_each_returns_last_key_of_each_kind() {
        let keys = ["a", "aa1", "aa2", "ab1", "b", "ba", "ba0"].map(Bytes::from);
        assert_eq!(last_of_each(keys.iter()), ["a", "aa2", "ab1", "b", "ba0"]);
    }
}
