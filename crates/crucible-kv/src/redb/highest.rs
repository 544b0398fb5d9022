//! The highest key of each kind that a tree may have.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

/// How many bytes at the beginning of a key say of what kind it is.
const KIND: usize = 2;

/// Of no more kinds is the highest key kept. Keys of others are looked for.
const KINDS_MAX: usize = 256;

/// What a key begins with.
pub(super) type Kind = [u8; KIND];

/// Keys mostly begin with what they are of, and go on with something that grows with time. What is new then comes after everything of
/// its kind, and that a tree lacks it is known without a look.
#[derive(Debug, Default)]
pub(super) struct Highest(RwLock<HashMap<Kind, Bytes>>);

impl Highest {
    /// Whether it is known that there is nothing of this key's kind at it and after it.
    pub(super) fn is_before(&self, key: &[u8]) -> bool {
        let Some(kind) = key.first_chunk() else { return false };
        let highest = self.0.read().unwrap_or_else(PoisonError::into_inner);
        highest.get(kind).is_some_and(|highest| **highest < *key)
    }

    /// Takes note of the last key of a kind before it is in the tree. Whoever writes to the tree does so, and nobody else. What the tree has of a kind that is not known yet is to be found
    /// by `find`.
    pub(super) fn raise<E>(
        &self,
        key: &Bytes,
        find: impl FnOnce(Kind) -> Result<Option<Bytes>, E>,
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
        // A copy: what is in memory there may be a part of something larger.
        let highest = Bytes::copy_from_slice(&highest);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(*kind, highest);
        Ok(())
    }
}

/// The last key of each kind among some that are in order.
pub(super) fn last_of_each<'a>(keys: impl Iterator<Item = &'a Bytes>) -> Vec<&'a Bytes> {
    let mut last: Vec<&Bytes> = Vec::new();
    for key in keys {
        match last.last_mut() {
            Some(before) if before.get(..KIND) == key.get(..KIND) => *before = key,
            _ => last.push(key),
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn raise(highest: &Highest, key: &'static str, stored: Option<&'static str>) {
        let find = |_| Ok::<_, Infallible>(stored.map(Bytes::from));
        highest.raise(&Bytes::from(key), find).unwrap();
    }

    #[test]
    fn only_what_comes_after_everything_of_its_kind_is_known_to_be_lacking() {
        let highest = Highest::default();
        assert!(!highest.is_before(b"aa9"), "nothing is known");
        raise(&highest, "aa3", Some("aa5"));
        assert!(highest.is_before(b"aa6") && highest.is_before(b"aa50"));
        assert!(
            !highest.is_before(b"aa5") && !highest.is_before(b"aa4") && !highest.is_before(b"aa")
        );
        assert!(!highest.is_before(b"ab9") && !highest.is_before(b"a") && !highest.is_before(b""));
        // What the tree has is asked for once.
        raise(&highest, "aa7", None);
        raise(&highest, "aa1", None);
        assert!(highest.is_before(b"aa8") && !highest.is_before(b"aa7"));
    }

    #[test]
    fn a_kind_that_the_tree_lacks_begins_with_its_first_key() {
        let highest = Highest::default();
        raise(&highest, "aa3", None);
        assert!(highest.is_before(b"aa4") && !highest.is_before(b"aa3"));
    }

    #[test]
    fn of_kinds_without_number_not_all_are_kept() {
        let highest = Highest::default();
        for kind in 0..=u16::MAX {
            highest
                .raise(&Bytes::copy_from_slice(&kind.to_be_bytes()), |_| Ok::<_, Infallible>(None))
                .unwrap();
        }
        assert_eq!(highest.0.read().unwrap().len(), KINDS_MAX);
        assert!(!highest.is_before(&[0xff, 0xff, 1]), "it is looked for");
        assert!(highest.is_before(&[0, 0, 1]));
    }

    #[test]
    fn of_each_kind_the_last_key_is_found() {
        let keys = ["a", "aa1", "aa2", "ab1", "b", "ba", "ba0"].map(Bytes::from);
        assert_eq!(last_of_each(keys.iter()), ["a", "aa2", "ab1", "b", "ba0"]);
    }
}
