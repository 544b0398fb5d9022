//! Commits and reads.

use std::path::Path;

use bytes::Bytes;
use crucible_kv::{
    Batch, Durability, Generation, KEY_MAX, KvError, KvErrorKind, Range, Store, VALUE_MAX,
    WriteError,
};

use crate::backend_kind::{BackendKind, batch, noise};

pub(crate) fn get_returns_last_written_value(kind: &BackendKind, scratch: &Path) {
    let backend = kind.open(scratch);
    let commit = |writes| backend.commit(&batch(writes), Durability::Process).unwrap();
    assert_eq!(backend.get(b"a").unwrap(), None);
    commit(vec![("a", Some("1")), ("b", Some("2"))]);
    commit(vec![("a", Some("3")), ("b", None), ("absent", None)]);
    assert_eq!(backend.get(b"a").unwrap(), Some("3".into()));
    assert_eq!(backend.get(b"b").unwrap(), None);
    commit(vec![("a", Some(""))]);
    assert_eq!(backend.get(b"a").unwrap(), Some(Bytes::new()));
    assert_eq!(backend.scan(&Range::all(), 9).unwrap(), [("a".into(), "".into())]);
}

pub(crate) fn committed_entries_survive_reopen(kind: &BackendKind, scratch: &Path) {
    let levels = [Durability::Buffered, Durability::Process, Durability::Power];
    let mut expected = Vec::new();
    for (round, level) in (0..30).zip(levels.iter().cycle()) {
        let backend = kind.open(scratch);
        assert_eq!(backend.scan(&Range::all(), usize::MAX).unwrap(), expected);
        let level = *level.min(&backend.strongest());
        let key = format!("{round:02}");
        backend.commit(&batch([(key.as_str(), Some("value"))]), level).unwrap();
        backend.commit(&Batch::new(), level).unwrap();
        // Flush, as a store does when it is closed.
        backend.commit(&Batch::new(), backend.strongest()).unwrap();
        expected.push((key.into(), "value".into()));
    }
}

pub(crate) fn large_values_and_long_keys_survive_reopen(kind: &BackendKind, scratch: &Path) {
    let key = noise(KEY_MAX, 1);
    let lengths =
        [0, 1, 6 * 1024, 6 * 1024 + 1, 32 * 1024, 100_000, 1 << 20, VALUE_MAX, 200_000, 5];
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
        let mut entries = [
            ("a".into(), value.clone()),
            ("a\0\0\0\0".into(), value.clone()),
            (key.clone(), value),
        ];
        entries.sort();
        assert_eq!(backend.scan(&Range::all(), 9).unwrap(), entries, "{length} bytes");
    }
    let (backend, mut batch) = (kind.open(scratch), Batch::new());
    batch.delete(key);
    batch.delete("a");
    backend.commit(&batch, Durability::Process).unwrap();
    assert_eq!(backend.scan(&Range::all(), 9).unwrap().len(), 1);
}

pub(crate) fn commit_beyond_strongest_level_is_refused(kind: &BackendKind, scratch: &Path) {
    let backend = kind.open(scratch);
    if backend.strongest() < Durability::Power {
        let error = backend.commit(&batch([("a", Some(""))]), Durability::Power).unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::UnsupportedDurability);
        assert_eq!(backend.get(b"a").unwrap(), None);
    }
    backend.commit(&batch([("a", Some(""))]), backend.strongest()).unwrap();
    assert_eq!(backend.get(b"a").unwrap(), Some(Bytes::new()));
}

pub(crate) fn is_unchanged_detects_changes_since_read(kind: &BackendKind, scratch: &Path) {
    /// A value, and the generation before its read.
    type Seen = (Option<Bytes>, Generation);
    async fn see(store: &Store, key: &'static str) -> Seen {
        let generation = store.generation();
        (store.get(key).await.unwrap(), generation)
    }
    async fn is_unchanged(store: &Store, key: &'static str, (value, generation): Seen) -> bool {
        let result = store
            .write(move |map| map.is_unchanged(key.as_bytes(), value.as_ref(), generation))
            .await;
        result.map_err(|error: WriteError<KvError>| error).unwrap()
    }
    async fn put(store: &Store, key: &'static str, value: Bytes) {
        let written = store.write(move |map| {
            map.put(key, value);
            Ok::<_, KvError>(())
        });
        written.await.unwrap();
    }
    // Write so much that earlier entries leave the cache.
    async fn fill(store: &Store) {
        for seed in 0..12 {
            put(store, "filling", noise(VALUE_MAX / 2, seed)).await;
        }
    }
    let store = Store::open(kind.open(scratch), Durability::Buffered).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // The first round reads from the cache, the second one from the disk.
        for round in 0..2 {
            let nothing = see(&store, "key").await;
            assert!(is_unchanged(&store, "key", nothing.clone()).await);
            put(&store, "key", "1".into()).await;
            assert!(!is_unchanged(&store, "key", nothing.clone()).await, "{round}");
            let first = see(&store, "key").await;
            if round == 1 {
                fill(&store).await;
            }
            assert!(is_unchanged(&store, "key", first.clone()).await, "{round}");
            assert!(!is_unchanged(&store, "key", nothing.clone()).await, "{round}");
            put(&store, "key", "2".into()).await;
            let second = see(&store, "key").await;
            if round == 1 {
                fill(&store).await;
            }
            assert!(!is_unchanged(&store, "key", first).await, "{round}");
            assert!(is_unchanged(&store, "key", second.clone()).await, "{round}");
            let in_turn = store.write(move |map| {
                map.delete("key");
                let (value, generation) = second;
                Ok::<_, KvError>((
                    map.is_unchanged(b"key", value.as_ref(), generation)?,
                    map.is_unchanged(b"key", None, generation)?,
                ))
            });
            assert_eq!(in_turn.await.unwrap(), (false, true));
            assert!(is_unchanged(&store, "key", nothing).await, "{round}");
        }
    });
}
