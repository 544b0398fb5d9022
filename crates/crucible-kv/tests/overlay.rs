//! The view of a transaction compared with a plain map: stored entries, earlier writes of its
//! group, and its own writes.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use crucible_kv::testing::MemoryBackend;
use crucible_kv::{Durability, KvError, Range, Store};
use proptest::collection::vec;
use proptest::prelude::*;

type Model = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Debug)]
enum Step {
    Put(Bytes, Bytes),
    Delete(Bytes),
    Get(Bytes),
    Scan(Range, usize),
}

fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(0), Just(b'a'), Just(0xff)], 1..4).prop_map(Bytes::from)
}

fn bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded)
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let plain = prop_oneof![
        key().prop_map(Range::prefix),
        (bound(), bound()).prop_map(|(a, b)| Range::between(a, b))
    ];
    (plain, any::<bool>(), proptest::option::of(key())).prop_map(|(range, reverse, after)| {
        let range = if reverse { range.reversed() } else { range };
        match after {
            Some(key) => range.after(key),
            None => range,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (key(), vec(any::<u8>(), 0..3)).prop_map(|(key, value)| Step::Put(key, value.into())),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Get),
        2 => (range(), 0..6_usize).prop_map(|(range, limit)| Step::Scan(range, limit)),
    ]
}

fn expected(model: &Model, range: &Range, limit: usize) -> Vec<(Bytes, Bytes)> {
    let entries = model
        .iter()
        .filter(|(key, _)| range.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()));
    if range.is_reversed() {
        entries.rev().take(limit).collect()
    } else {
        entries.take(limit).collect()
    }
}

proptest! {
    /// Aborted and successful writes, most of them in one group.
    #[test]
    fn transaction_view_matches_plain_map(
        stored in vec((key(), Just(Bytes::from("stored"))), 0..8),
        writes in vec((vec(step(), 0..8), any::<bool>()), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut model: Model = stored.into_iter().collect();
        let disk = MemoryBackend::with_entries(model.clone());
        let store = Store::open(disk.clone(), Durability::Power).unwrap();
        let mut pending = Vec::new();
        for (steps, succeeds) in writes {
            let before = model.clone();
            for step in &steps {
                match step {
                    Step::Put(key, value) => drop(model.insert(key.clone(), value.clone())),
                    Step::Delete(key) => drop(model.remove(key)),
                    Step::Get(_) | Step::Scan(..) => {}
                }
            }
            let mut seen = before.clone();
            if !succeeds {
                model = before;
            }
            pending.push(store.write_later(move |transaction| {
                for step in steps {
                    match step {
                        Step::Put(key, value) => {
                            seen.insert(key.clone(), value.clone());
                            transaction.put(key, value);
                        }
                        Step::Delete(key) => {
                            seen.remove(&key);
                            transaction.delete(key);
                        }
                        Step::Get(key) => {
                            assert_eq!(transaction.get(&key)?.as_ref(), seen.get(&key));
                        }
                        Step::Scan(range, limit) => {
                            let expected = expected(&seen, &range, limit);
                            assert_eq!(transaction.scan(&range, limit)?, expected, "{range:?}");
                        }
                    }
                }
                if succeeds { Ok(()) } else { Err(KvError::Closed) }
            }));
        }
        runtime.block_on(async {
            for write in pending {
                drop(write.await);
            }
            store.clone().close().await.unwrap();
        });
        prop_assert_eq!(disk.entries(), model);
    }
}
