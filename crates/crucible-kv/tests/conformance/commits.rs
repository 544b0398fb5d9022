//! Writing, and finding it again.

use std::path::Path;

use bytes::Bytes;
use crucible_kv::{Batch, Durability, KEY_MAX, KvErrorKind, Range, VALUE_MAX};

use crate::support::{Kind, batch, noise};

pub(crate) fn a_key_has_the_value_that_was_written_last(kind: &Kind, scratch: &Path) {
    let backend = kind.open(scratch);
    let commit = |writes| backend.commit(&batch(writes), Durability::Process).unwrap();
    assert_eq!(backend.get(b"a").unwrap(), None);
    commit(vec![("a", Some("1")), ("b", Some("2"))]);
    commit(vec![("a", Some("3")), ("b", None), ("never there", None)]);
    assert_eq!(backend.get(b"a").unwrap(), Some("3".into()));
    assert_eq!(backend.get(b"b").unwrap(), None);
    commit(vec![("a", Some(""))]);
    assert_eq!(backend.get(b"a").unwrap(), Some(Bytes::new()));
    assert_eq!(backend.scan(&Range::all(), 9).unwrap(), [("a".into(), "".into())]);
}

pub(crate) fn what_was_committed_is_there_when_it_is_opened_again(kind: &Kind, scratch: &Path) {
    let levels = [Durability::Buffered, Durability::Process, Durability::Power];
    let mut expected = Vec::new();
    for (round, level) in (0..30).zip(levels.iter().cycle()) {
        let backend = kind.open(scratch);
        assert_eq!(backend.scan(&Range::all(), usize::MAX).unwrap(), expected);
        let level = *level.min(&backend.strongest());
        let key = format!("{round:02}");
        backend.commit(&batch([(key.as_str(), Some("value"))]), level).unwrap();
        backend.commit(&Batch::new(), level).unwrap();
        // An end in order, which a store makes of its own.
        backend.commit(&Batch::new(), backend.strongest()).unwrap();
        expected.push((key.into(), "value".into()));
    }
}

pub(crate) fn large_values_and_long_keys_come_back(kind: &Kind, scratch: &Path) {
    let key = noise(KEY_MAX, 1);
    let lengths = [0, 1, 32 * 1024 - 4, 32 * 1024 - 3, 100_000, 1 << 20, VALUE_MAX, 200_000, 5];
    for (seed, length) in (0..).zip(lengths) {
        let (backend, value) = (kind.open(scratch), noise(length, seed));
        let mut batch = Batch::new();
        for key in [&key[..], b"a", b"a\0\0\0\0"] {
            batch.put(key.to_vec(), value.clone());
        }
        backend.commit(&batch, backend.strongest()).unwrap();
        drop(backend);
        let backend = kind.open(scratch);
        assert_eq!(backend.get(&key).unwrap().as_ref(), Some(&value), "{length} bytes");
        let mut entries =
            [("a".into(), value.clone()), ("a\0\0\0\0".into(), value.clone()), (key.clone(), value)];
        entries.sort();
        assert_eq!(backend.scan(&Range::all(), 9).unwrap(), entries, "{length} bytes");
    }
    let (backend, mut batch) = (kind.open(scratch), Batch::new());
    batch.delete(key);
    batch.delete("a");
    backend.commit(&batch, Durability::Process).unwrap();
    assert_eq!(backend.scan(&Range::all(), 9).unwrap().len(), 1);
}

pub(crate) fn a_level_beyond_the_strongest_is_refused(kind: &Kind, scratch: &Path) {
    let backend = kind.open(scratch);
    if backend.strongest() < Durability::Power {
        let error = backend.commit(&batch([("a", Some(""))]), Durability::Power).unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::TooWeak);
        assert_eq!(backend.get(b"a").unwrap(), None);
    }
    backend.commit(&batch([("a", Some(""))]), backend.strongest()).unwrap();
    assert_eq!(backend.get(b"a").unwrap(), Some(Bytes::new()));
}
