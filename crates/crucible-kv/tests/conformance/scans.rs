//! Range scans.

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use crucible_kv::{Batch, Durability, Range};

use crate::backend_kind::BackendKind;

const KEYS: [&[u8]; 8] = [b"\0", b"a", b"a\0", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];

fn keys(backend: &dyn crucible_kv::Backend, range: &Range, limit: usize) -> Vec<Bytes> {
    backend.scan(range, limit).unwrap().into_iter().map(|(key, _)| key).collect()
}

pub(crate) fn scan_follows_range_order_in_both_directions(kind: &BackendKind, scratch: &Path) {
    let (backend, mut batch) = (kind.open(scratch), Batch::new());
    for key in KEYS.iter().rev() {
        batch.put(*key, *key);
    }
    backend.commit(&batch, Durability::Process).unwrap();
    let bounds = |key: &'static [u8]| [Bound::Included(key.into()), Bound::Excluded(key.into())];
    let starts = KEYS.into_iter().flat_map(bounds).chain([Bound::Unbounded]);
    for start in starts {
        for end in KEYS.into_iter().flat_map(bounds).chain([Bound::Unbounded]) {
            let range = Range::between(start.clone(), end);
            let mut expected: Vec<_> = KEYS.into_iter().filter(|key| range.contains(key)).collect();
            assert_eq!(keys(&*backend, &range, 99), expected, "{range:?}");
            expected.reverse();
            assert_eq!(keys(&*backend, &range.reversed(), 99), expected);
        }
    }
    assert_eq!(keys(&*backend, &Range::prefix("a"), 2), [&b"a"[..], b"a\0"]);
    assert_eq!(keys(&*backend, &Range::prefix("a").reversed(), 2), [&b"a\xff\xff"[..], b"a\xff"]);
    assert_eq!(keys(&*backend, &Range::all(), 0), [""; 0]);
}

pub(crate) fn empty_range_returns_no_entries(kind: &BackendKind, scratch: &Path) {
    let (backend, mut batch) = (kind.open(scratch), Batch::new());
    batch.put("a", "");
    backend.commit(&batch, Durability::Process).unwrap();
    let key = || Bytes::from("a");
    for range in [
        Range::between(Bound::Excluded(key()), Bound::Excluded(key())),
        Range::between(Bound::Included(key()), Bound::Excluded(key())),
        Range::between(Bound::Included("b".into()), Bound::Included(key())),
    ] {
        assert_eq!(backend.scan(&range, 9).unwrap(), []);
        assert_eq!(backend.scan(&range.reversed(), 9).unwrap(), []);
    }
}

pub(crate) fn paging_returns_every_entry_once(kind: &BackendKind, scratch: &Path) {
    let (backend, mut batch) = (kind.open(scratch), Batch::new());
    for n in 0..2000_u32 {
        batch.put(n.to_be_bytes().to_vec(), vec![0; 100]);
    }
    backend.commit(&batch, Durability::Process).unwrap();
    for range in [Range::all(), Range::all().reversed()] {
        let (mut rest, mut seen) = (range.clone(), Vec::new());
        loop {
            let page = keys(&*backend, &rest, 7);
            let Some(last) = page.last() else { break };
            rest = rest.after(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, keys(&*backend, &range, usize::MAX));
        assert_eq!(seen.len(), 2000);
    }
}

pub(crate) fn scan_sees_commit_whole_or_not_at_all(kind: &BackendKind, scratch: &Path) {
    let backend = kind.open(scratch);
    let commit = |round: u32| {
        let mut batch = Batch::new();
        for key in 0..50_u8 {
            batch.put(vec![key], round.to_be_bytes().to_vec());
        }
        backend.commit(&batch, Durability::Buffered).unwrap();
    };
    commit(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..300).for_each(commit));
        while !writer.is_finished() {
            let entries = backend.scan(&Range::all(), 99).unwrap();
            assert_eq!(entries.len(), 50);
            assert!(entries.iter().all(|(_, value)| *value == entries[0].1), "{entries:?}");
        }
        writer.join().unwrap();
    });
}
