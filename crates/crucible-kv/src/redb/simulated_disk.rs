//! A simulated disk that loses power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::disk::{Disk, DiskFile};

/// The unit that a device writes as a whole or not at all.
const SECTOR: usize = 512;

/// A deterministic random generator: xorshift64.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// Files in memory with a history of all operations. Clones share the files.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<SimulatedFiles>>);

#[derive(Debug, Default)]
pub(super) struct SimulatedFiles {
    /// The initial content.
    base: BTreeMap<String, Vec<u8>>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    history: Vec<(String, DiskOperation)>,
}

#[derive(Clone, Debug)]
enum DiskOperation {
    Write(u64, Bytes),
    SetLen(u64),
    Sync,
}

#[derive(Debug)]
struct SimulatedFile(SimulatedDisk, String);

impl SimulatedDisk {
    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let files = SimulatedFiles { base: files.clone(), files, history: Vec::new() };
        Self(Arc::new(Mutex::new(files)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SimulatedFiles> {
        self.0.lock().unwrap()
    }

    /// Returns the number of operations so far.
    pub(super) fn operations(&self) -> usize {
        self.lock().history.len()
    }

    /// Returns a disk as a power cut after some operations may leave it: all flushed operations,
    /// and any subset of the others.
    pub(super) fn after_power_cut(&self, operations: usize, rng: &mut Rng) -> Self {
        let state = self.lock();
        let history = &state.history[..operations];
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for name in state.files.keys() {
            let is_sync = |(file, operation): &(String, DiskOperation)| {
                file == name && matches!(operation, DiskOperation::Sync)
            };
            let synced = history.iter().rposition(is_sync);
            let content = files.entry(name.clone()).or_default();
            content.extend_from_slice(state.base.get(name).map_or(&[], Vec::as_slice));
            let of_file = history.iter().enumerate().filter(|(_, (file, _))| file == name);
            for (at, (_, operation)) in of_file {
                if synced.is_some_and(|synced| at < synced) {
                    apply(content, operation);
                } else {
                    apply_partly(content, operation, rng);
                }
            }
        }
        Self::of(files)
    }

    /// Returns a disk with exactly the first operations: the content after the process was killed.
    pub(super) fn after_kill(&self, operations: usize) -> Self {
        let mut files = BTreeMap::new();
        for (name, operation) in &self.lock().history[..operations] {
            apply(files.entry(name.clone()).or_default(), operation);
        }
        Self::of(files)
    }
}

fn apply(content: &mut Vec<u8>, operation: &DiskOperation) {
    match operation {
        DiskOperation::Write(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            content.resize(content.len().max(offset + data.len()), 0);
            content[offset..offset + data.len()].copy_from_slice(data);
        }
        DiskOperation::SetLen(len) => content.resize(usize::try_from(*len).unwrap(), 0),
        DiskOperation::Sync => {}
    }
}

/// Applies an operation as a whole, not at all, or some sectors of a write.
fn apply_partly(content: &mut Vec<u8>, operation: &DiskOperation, rng: &mut Rng) {
    match (rng.below(3), operation) {
        (0, _) => {}
        (1, _) => apply(content, operation),
        (_, DiskOperation::Write(offset, data)) => {
            for (at, sector) in (*offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                if rng.below(2) == 0 {
                    apply(content, &DiskOperation::Write(at, Bytes::copy_from_slice(sector)));
                }
            }
        }
        (..) => apply(content, operation),
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.lock().files.entry(name.to_owned()).or_default();
        Ok(Box::new(SimulatedFile(self.clone(), name.to_owned())))
    }

    fn name(&self, name: &str) -> String {
        format!("`{name}`")
    }
}

impl SimulatedFile {
    fn record(&self, operation: DiskOperation) -> io::Result<()> {
        let mut state = self.0.lock();
        apply(state.files.get_mut(&self.1).unwrap(), &operation);
        state.history.push((self.1.clone(), operation));
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
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
        self.record(DiskOperation::Write(offset, Bytes::copy_from_slice(data)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record(DiskOperation::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.record(DiskOperation::Sync)
    }
}
