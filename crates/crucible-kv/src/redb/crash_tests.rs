//! The content of the files after a power cut at any time: all flushed writes, and any part of the
//! others.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::simulated_disk::{Rng, SimulatedDisk};
use super::tree::OpenCheck;
use super::wal_tree::WalTree;
use crate::{Batch, Durability, KvErrorKind, Range};

/// A small limit, so that the log files alternate often.
const WAL_LIMIT: u64 = 6000;

type Model = BTreeMap<Bytes, Bytes>;

/// A commit of a test run.
struct ModelCommit {
    /// The number of disk operations before the commit.
    begun: usize,
    /// The number of disk operations when the commit was acknowledged.
    acknowledged: usize,
    /// The entries after the commit.
    model: Model,
}

fn open(disk: &SimulatedDisk) -> Result<WalTree, crate::KvError> {
    let disk = disk.clone();
    WalTree::open(WAL_LIMIT, OpenCheck::Nothing, move || Box::new(disk.clone()))
}

fn entries(tree: &WalTree) -> Model {
    tree.scan(&Range::all(), usize::MAX).unwrap().into_iter().collect()
}

fn random_batch(rng: &mut Rng) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..1 + rng.below(5) {
        let key = vec![rng.byte() % 40];
        if rng.below(4) == 0 {
            batch.delete(key);
        } else {
            let length = rng.below(1500);
            batch.put(key, vec![rng.byte(); length]);
        }
    }
    batch
}

/// Makes random commits. The first element describes the state before them.
fn run(
    disk: &SimulatedDisk,
    durability: Durability,
    count: usize,
    rng: &mut Rng,
) -> Vec<ModelCommit> {
    let tree = open(disk).unwrap();
    let mut model = entries(&tree);
    let opened = disk.operations();
    let mut commits =
        vec![ModelCommit { begun: opened, acknowledged: opened, model: model.clone() }];
    for _ in 0..count {
        let batch = random_batch(rng);
        let begun = disk.operations();
        tree.commit(&batch, durability).unwrap();
        for (key, value) in &batch {
            match value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(key),
            };
        }
        let acknowledged = disk.operations();
        commits.push(ModelCommit { begun, acknowledged, model: model.clone() });
    }
    commits
}

/// Cuts the power at random times and passes the remaining entries to `check`.
fn cut_power(durability: Durability, check: impl Fn(&Model, &[ModelCommit], usize)) {
    let mut rng = Rng::new();
    for _ in 0..4 {
        let disk = SimulatedDisk::default();
        let commits = run(&disk, durability, 40, &mut rng);
        let first = commits[0].begun;
        for _ in 0..16 {
            let cut = first + rng.below(disk.operations() + 1 - first);
            let image = disk.after_power_cut(cut, &mut rng);
            let remaining = entries(&open(&image).unwrap());
            check(&remaining, &commits, cut);
            // Write to the image, close it in order, and cut the power once more.
            let again = run(&image, durability, 3, &mut rng);
            assert_eq!(again[0].model, remaining);
            let closed = image.after_power_cut(image.operations(), &mut rng);
            assert_eq!(entries(&open(&closed).unwrap()), again[3].model, "closed in order");
        }
    }
}

#[test]
fn power_cut_keeps_acknowledged_commits_whole() {
    cut_power(Durability::Power, |remaining, commits, cut| {
        let acknowledged = commits.iter().rposition(|commit| commit.acknowledged <= cut).unwrap();
        let begun = commits.iter().rposition(|commit| commit.begun <= cut).unwrap();
        let mut possible = commits[acknowledged..=begun].iter();
        assert!(
            possible.any(|commit| commit.model == *remaining),
            "{acknowledged} of {begun} at {cut}"
        );
    });
}

#[test]
fn power_cut_at_any_level_leaves_a_prefix_of_commits() {
    cut_power(Durability::Process, |remaining, commits, cut| {
        let begun = commits.iter().rposition(|commit| commit.begun <= cut).unwrap();
        let mut possible = commits[..=begun].iter();
        assert!(possible.any(|commit| commit.model == *remaining), "of {begun} at {cut}");
    });
}

/// A killed process leaves all data that it has written to the kernel.
#[test]
fn killed_process_keeps_acknowledged_commits() {
    let mut rng = Rng::new();
    let disk = SimulatedDisk::default();
    for commit in run(&disk, Durability::Process, 60, &mut rng) {
        // A running checkpoint does not matter: the log contains the same entries as the tree.
        let killed = disk.after_kill(commit.acknowledged);
        assert_eq!(entries(&open(&killed).unwrap()), commit.model);
    }
}

#[test]
fn corrupt_record_before_others_is_named() {
    let mut rng = Rng::new();
    let disk = SimulatedDisk::default();
    let shared = disk.clone();
    let tree = WalTree::open(1 << 20, OpenCheck::Nothing, move || Box::new(shared.clone()));
    let tree = tree.unwrap();
    for _ in 0..20 {
        tree.commit(&random_batch(&mut rng), Durability::Power).unwrap();
    }
    let end = usize::try_from(tree.wal_end()).unwrap();
    let image = disk.after_power_cut(disk.operations(), &mut rng);
    let pristine = image.lock().files["log.0"].clone();
    let mut corrupt = 0;
    for at in (0..end).step_by(61) {
        let mut files = image.lock().files.clone();
        files.get_mut("log.0").unwrap().clone_from(&pristine);
        files.get_mut("log.0").unwrap()[at] ^= 0x10;
        match open(&SimulatedDisk::of(files)) {
            Ok(opened) => {
                // The byte is padding or belongs to the last record.
                let is_last = at + 8000 > end;
                assert!(is_last || entries(&opened) == entries(&tree), "byte {at} of {end}");
            }
            Err(error) => {
                corrupt += 1;
                assert_eq!(error.kind(), KvErrorKind::Corrupt);
                assert!(error.to_string().contains("`log.0`"), "{error}");
            }
        }
    }
    assert!(corrupt > 10, "{corrupt}");
}

#[test]
fn cached_values_are_current_and_misses_unchanged() {
    let mut rng = Rng::new();
    let tree = open(&SimulatedDisk::default()).unwrap();
    let (mut model, mut seen) = (Model::new(), BTreeMap::new());
    let (mut absent, mut unchanged) = (0, 0);
    for round in 0..300 {
        let mut batch = Batch::new();
        // Keys grow over time, and old keys are written again.
        for key in [round, rng.below(round + 1), rng.below(round + 1)] {
            let key = Bytes::from(format!("key {key:03}"));
            if rng.below(4) == 0 {
                batch.delete(key.clone());
                model.remove(&key);
            } else {
                let value = Bytes::from(vec![rng.byte(); rng.below(700)]);
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        tree.commit(&batch, Durability::Power).unwrap();
        for key in (0..round + 3).map(|key| Bytes::from(format!("key {key:03}"))) {
            let now = model.get(&key).cloned();
            match tree.get_cached(&key) {
                Some(cached) => {
                    assert_eq!(cached, now, "{key:?}");
                    absent += usize::from(key > format!("key {round:03}"));
                }
                None => {
                    if let Some((before, generation)) = seen.get(&key)
                        && *generation == tree.generation()
                    {
                        assert_eq!(*before, now, "{key:?}");
                        unchanged += 1;
                    }
                }
            }
            let generation = tree.generation();
            seen.insert(key.clone(), (tree.get(&key).unwrap(), generation));
        }
    }
    assert!(absent > 300 && unchanged > 300, "{absent} {unchanged}");
}
