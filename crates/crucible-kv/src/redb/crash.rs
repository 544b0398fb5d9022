//! What a power cut leaves of the files, at any moment: what was flushed, and of the rest anything.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Logged;
use super::blocks::{Blocks, Disk};
use super::tree::Check;
use crate::{Batch, Durability, KvErrorKind, Range};
use bytes::Bytes;

/// What a device writes wholly or not at all.
const SECTOR: usize = 512;

/// So little is logged that files change often.
const MOST: u64 = 6000;

/// xorshift64: the same numbers each time, and no more of a generator than is needed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

#[derive(Clone, Debug, Default)]
struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What there was at the beginning.
    base: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    history: Vec<(String, Op)>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Bytes),
    SetLen(u64),
    Sync,
}

#[derive(Debug)]
struct SimFile(SimDisk, String);

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn moment(&self) -> usize {
        self.lock().history.len()
    }

    /// What is left of everything up to a moment.
    fn image(&self, moment: usize, rng: &mut Rng) -> Self {
        let state = self.lock();
        let history = &state.history[..moment];
        let mut left = State::default();
        for name in state.files.keys() {
            let synced =
                history.iter().rposition(|(file, op)| file == name && matches!(op, Op::Sync));
            let content = left.files.entry(name.clone()).or_default();
            content.extend_from_slice(state.base.get(name).map_or(&[], Vec::as_slice));
            for (at, (_, op)) in history.iter().enumerate().filter(|(_, (file, _))| file == name) {
                if synced.is_some_and(|synced| at < synced) {
                    apply(content, op);
                } else {
                    apply_some(content, op, rng);
                }
            }
        }
        Self::of(left.files)
    }

    fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(State { base: files.clone(), files, history: Vec::new() })))
    }
}

fn apply(content: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            content.resize(content.len().max(offset + data.len()), 0);
            content[offset..offset + data.len()].copy_from_slice(data);
        }
        Op::SetLen(len) => content.resize(usize::try_from(*len).unwrap(), 0),
        Op::Sync => {}
    }
}

/// All of it, nothing, or of a write some sectors.
fn apply_some(content: &mut Vec<u8>, op: &Op, rng: &mut Rng) {
    match (rng.below(3), op) {
        (0, _) => {}
        (1, _) => apply(content, op),
        (_, Op::Write(offset, data)) => {
            for (at, sector) in (*offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                if rng.below(2) == 0 {
                    apply(content, &Op::Write(at, Bytes::copy_from_slice(sector)));
                }
            }
        }
        (..) => apply(content, op),
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn Blocks>> {
        self.lock().files.entry(name.to_owned()).or_default();
        Ok(Box::new(SimFile(self.clone(), name.to_owned())))
    }

    fn name(&self, name: &str) -> String {
        format!("`{name}`")
    }
}

impl SimFile {
    fn op(&self, op: Op) -> io::Result<()> {
        let mut state = self.0.lock();
        apply(state.files.get_mut(&self.1).unwrap(), &op);
        state.history.push((self.1.clone(), op));
        Ok(())
    }
}

impl Blocks for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().files[&self.1].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let from = state.files[&self.1].get(usize::try_from(offset).unwrap()..);
        let from =
            from.and_then(|rest| rest.get(..out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.op(Op::Write(offset, Bytes::copy_from_slice(data)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.op(Op::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.op(Op::Sync)
    }
}

type Model = BTreeMap<Bytes, Bytes>;

fn open(disk: &SimDisk) -> Result<Logged, crate::KvError> {
    let disk = disk.clone();
    Logged::open(MOST, Check::Nothing, move || Box::new(disk.clone()))
}

fn entries(logged: &Logged) -> Model {
    logged.scan(&Range::all(), usize::MAX).unwrap().into_iter().collect()
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

/// Commits, each with the moments between which it was made and what there was after it; the first is before all of them.
fn run(
    disk: &SimDisk,
    durability: Durability,
    count: usize,
    rng: &mut Rng,
) -> Vec<(usize, usize, Model)> {
    let logged = open(disk).unwrap();
    let mut model = entries(&logged);
    let mut commits = vec![(disk.moment(), disk.moment(), model.clone())];
    for _ in 0..count {
        let batch = random_batch(rng);
        let begun = disk.moment();
        logged.commit(&batch, durability).unwrap();
        for (key, value) in &batch {
            match value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(key),
            };
        }
        commits.push((begun, disk.moment(), model.clone()));
    }
    commits
}

fn images(durability: Durability, check: impl Fn(&Model, &[(usize, usize, Model)], usize)) {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4 {
        let disk = SimDisk::default();
        let commits = run(&disk, durability, 40, &mut rng);
        let first = commits[0].0;
        for _ in 0..16 {
            let moment = first + rng.below(disk.moment() + 1 - first);
            let image = disk.image(moment, &mut rng);
            let left = entries(&open(&image).unwrap());
            check(&left, &commits, moment);
            // It is opened once more, and written, and its power is cut again.
            let again = run(&image, durability, 3, &mut rng);
            assert_eq!(again[0].2, left);
            let moment = image.moment();
            let last = entries(&open(&image.image(moment, &mut rng)).unwrap());
            assert_eq!(last, again[3].2, "closed in order");
        }
    }
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged_and_leaves_no_part_of_a_commit() {
    images(Durability::Power, |left, commits, moment| {
        let acknowledged = commits.iter().rposition(|(_, done, _)| *done <= moment).unwrap();
        let begun = commits.iter().rposition(|(begun, ..)| *begun <= moment).unwrap();
        let possible = &commits[acknowledged..=begun];
        assert!(
            possible.iter().any(|(.., model)| model == left),
            "{acknowledged} of {begun} at {moment}"
        );
    });
}

#[test]
fn a_power_cut_leaves_some_first_commits_whatever_the_level() {
    images(Durability::Process, |left, commits, moment| {
        let begun = commits.iter().rposition(|(begun, ..)| *begun <= moment).unwrap();
        assert!(
            commits[..=begun].iter().any(|(.., model)| model == left),
            "of {begun} at {moment}"
        );
    });
}

/// A killed process leaves everything that it has handed to the kernel.
#[test]
fn a_killed_process_takes_nothing_that_was_acknowledged_at_its_level() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let disk = SimDisk::default();
    let commits = run(&disk, Durability::Process, 60, &mut rng);
    for (_, done, model) in &commits {
        let mut files = BTreeMap::new();
        for (name, op) in &disk.lock().history[..*done] {
            apply(files.entry(name.clone()).or_default(), op);
        }
        let left = entries(&open(&SimDisk::of(files)).unwrap());
        // The tree may be taking in what the log has: it has the same.
        assert_eq!(left, *model);
    }
}

#[test]
fn a_damaged_record_that_others_follow_is_an_error_that_names_it() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let disk = SimDisk::default();
    let logged = Logged::open(1 << 20, Check::Nothing, {
        let disk = disk.clone();
        move || Box::new(disk.clone())
    });
    let logged = logged.unwrap();
    for _ in 0..20 {
        logged.commit(&random_batch(&mut rng), Durability::Power).unwrap();
    }
    let moment = disk.moment();
    let last = logged.lock().end();
    let image = disk.image(moment, &mut rng);
    let pristine = image.lock().files["log.0"].clone();
    let mut damaged = 0;
    for at in (0..usize::try_from(last).unwrap()).step_by(61) {
        image.lock().files.get_mut("log.0").unwrap().clone_from(&pristine);
        image.lock().files.get_mut("log.0").unwrap()[at] ^= 0x10;
        let copy = SimDisk::of(image.lock().files.clone());
        match open(&copy) {
            Ok(left) => {
                let (left, all) = (entries(&left), entries(&logged));
                // Padding, or the last record.
                assert!(
                    left == all || at + 8000 > usize::try_from(last).unwrap(),
                    "byte {at} of {last}"
                );
            }
            Err(error) => {
                damaged += 1;
                assert_eq!(error.kind(), KvErrorKind::Corrupt);
                assert!(error.to_string().contains("`log.0`"), "{error}");
            }
        }
    }
    assert!(damaged > 10, "{damaged}");
}

#[test]
fn what_is_told_at_once_is_so_and_what_is_not_has_not_changed_since() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let logged = open(&SimDisk::default()).unwrap();
    let (mut model, mut seen) = (Model::new(), BTreeMap::new());
    let (mut lacking, mut unchanged) = (0, 0);
    for round in 0..300 {
        let mut batch = Batch::new();
        // Keys grow, and old ones are written again.
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
        logged.commit(&batch, Durability::Power).unwrap();
        for key in (0..round + 3).map(|key| Bytes::from(format!("key {key:03}"))) {
            let now = model.get(&key).cloned();
            match logged.get_cached(&key) {
                Some(told) => {
                    assert_eq!(told, now, "{key:?}");
                    lacking += usize::from(key > format!("key {round:03}"));
                }
                None => {
                    if let Some((before, settled)) = seen.get(&key)
                        && *settled == logged.keeper.recent().settled
                    {
                        assert_eq!(*before, now, "{key:?}");
                        unchanged += 1;
                    }
                }
            }
            let settled = logged.keeper.recent().settled;
            seen.insert(key.clone(), (logged.get(&key).unwrap(), settled));
        }
    }
    assert!(lacking > 300 && unchanged > 300, "{lacking} {unchanged}");
}
