//! Random calls compared with a plain map.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use crucible_kv::{Batch, Durability, Range};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::backend_kind::{BackendKind, noise};

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Bytes, Option<usize>)>, Durability),
    Scan(Bytes, Option<Bytes>, bool, usize),
    Compact,
    Reopen,
}

fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(0), Just(b'a'), Just(0xff)], 1..4).prop_map(Bytes::from)
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![8 => 0..200_usize, 1 => 30_000..70_000_usize];
    let level =
        prop_oneof![Just(Durability::Buffered), Just(Durability::Process), Just(Durability::Power)];
    prop_oneof![
        8 => (vec((key(), proptest::option::of(length)), 0..6), level)
            .prop_map(|(writes, level)| Step::Commit(writes, level)),
        6 => (key(), proptest::option::of(key()), any::<bool>(), 0..6_usize)
            .prop_map(|(prefix, after, reverse, limit)| Step::Scan(prefix, after, reverse, limit)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

pub(crate) fn random_calls_match_plain_map(kind: &BackendKind, scratch: &Path) {
    // Opening a store takes milliseconds.
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let case = Cell::new(0);
    let result = runner.run(&vec(step(), 1..40), |steps| {
        case.set(case.get() + 1);
        let directory = scratch.join(case.get().to_string());
        let mut backend = kind.open(&directory);
        let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (seed, step) in (0..).zip(steps) {
            match step {
                Step::Commit(writes, level) => {
                    let mut batch = Batch::new();
                    for (key, length) in writes {
                        match length.map(|length| noise(length, seed)) {
                            Some(value) => {
                                batch.put(key.clone(), value.clone());
                                model.insert(key, value);
                            }
                            None => {
                                batch.delete(key.clone());
                                model.remove(&key);
                            }
                        }
                    }
                    backend.commit(&batch, level.min(backend.strongest())).unwrap();
                    for (key, _) in &batch {
                        prop_assert_eq!(backend.get(key).unwrap(), model.get(key).cloned());
                        // A cached value must be the same.
                        if let Some(value) = backend.get_cached(key).unwrap() {
                            prop_assert_eq!(value, model.get(key).cloned());
                        }
                    }
                }
                Step::Scan(prefix, after, reverse, limit) => {
                    let range = Range::prefix(prefix);
                    let range = if reverse { range.reversed() } else { range };
                    let range = after.map_or(range.clone(), |key| range.after(key));
                    let within = model.iter().filter(|(key, _)| range.contains(key));
                    let within = within.map(|(key, value)| (key.clone(), value.clone()));
                    let expected: Vec<_> = if reverse {
                        within.rev().take(limit).collect()
                    } else {
                        within.take(limit).collect()
                    };
                    prop_assert_eq!(backend.scan(&range, limit).unwrap(), expected);
                }
                Step::Compact => backend.compact().unwrap(),
                Step::Reopen => {
                    backend.commit(&Batch::new(), backend.strongest()).unwrap();
                    drop(backend);
                    backend = kind.open(&directory);
                }
            }
            let entries: Vec<_> =
                model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(backend.scan(&Range::all(), usize::MAX).unwrap(), entries);
        }
        Ok(())
    });
    result.unwrap();
}
