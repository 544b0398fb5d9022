//! A redb tree with a write-ahead log in front of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::checkpointer::Checkpointer;
use super::disk::Disk;
use super::tree::{OpenCheck, RedbTree};
use super::wal::Wal;
use crate::overlay::Overlay;
use crate::{Batch, Durability, KvError, Range};

/// A log, a tree, and the thread that applies the log to the tree.
#[derive(Debug)]
pub(super) struct WalTree {
    wal: Mutex<Wal>,
    checkpointer: Arc<Checkpointer>,
    thread: Option<JoinHandle<()>>,
}

impl WalTree {
    /// Opens log and tree, and applies the rest of the log to the tree. `wal_limit` is the size at
    /// which a log file is full.
    pub(super) fn open(
        wal_limit: u64,
        check: OpenCheck,
        disk: impl Fn() -> Box<dyn Disk>,
    ) -> Result<Self, KvError> {
        let tree = RedbTree::open(disk(), check)?;
        let (applied, salt) = tree.meta()?;
        let (wal, replay) = Wal::open(&*disk(), wal_limit, applied, salt)?;
        if replay.last > applied {
            tree.apply(&replay.batch, replay.last)?;
        }
        let checkpointer = Arc::new(Checkpointer::new(tree));
        let thread = thread::Builder::new().name("crucible-kv-tree".to_owned()).spawn({
            let checkpointer = Arc::clone(&checkpointer);
            move || checkpointer.run()
        });
        let thread = thread.map_err(|error| KvError::from_io("a thread", error))?;
        Ok(Self { wal: Mutex::new(wal), checkpointer, thread: Some(thread) })
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.get_cached(key) {
            Some(value) => Ok(value),
            // Entries that reach the tree in between either have other keys or are newer.
            None => self.checkpointer.tree().get(key),
        }
    }

    /// Returns the value of a key if it can be determined without reading the tree.
    pub(super) fn get_cached(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let memtables = self.checkpointer.memtables();
        match memtables.active.get(key).or_else(|| memtables.flushing.get(key)) {
            Some(value) => Some(value.cloned()),
            None => self.checkpointer.tree().is_known_to_lack(key).then_some(None),
        }
    }

    /// Returns how often entries have moved from memory into the tree.
    pub(super) fn generation(&self) -> u64 {
        self.checkpointer.memtables().generation
    }

    /// Returns the first `limit` entries of a range, in the order of the range.
    pub(super) fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let memtables = self.checkpointer.memtables();
        let stored = |range: &Range, limit| self.checkpointer.tree().scan(range, limit);
        Overlay::new(stored, [&memtables.active, &memtables.flushing], range, limit)
            .take(limit)
            .collect()
    }

    /// Appends a batch to the log, and makes it visible.
    pub(super) fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        let mut wal = self.lock();
        let encoded = if batch.is_empty() {
            Bytes::new()
        } else {
            if wal.is_full() {
                self.start_checkpoint(&mut wal)?;
            }
            wal.append(batch)?
        };
        if durability == Durability::Power {
            wal.sync()?;
        }
        // The record was encoded just now, so it decodes.
        let corrupt = || KvError::Corrupt { what: "a record in memory".into(), source: None };
        self.checkpointer.add(&encoded).ok_or_else(corrupt)
    }

    /// Applies the whole log to the tree and releases unused space of the tree.
    pub(super) fn compact(&self) -> Result<(), KvError> {
        let mut wal = self.lock();
        self.checkpoint(&mut wal)?;
        self.checkpointer.tree().compact()
    }

    /// Starts to apply the active log file to the tree, after the other file has been applied.
    fn start_checkpoint(&self, wal: &mut Wal) -> Result<(), KvError> {
        self.checkpointer.wait()?;
        if !self.checkpointer.memtables().active.is_empty() {
            wal.switch()?;
            self.checkpointer.start(wal.last());
        }
        Ok(())
    }

    /// Applies the whole log to the tree.
    fn checkpoint(&self, wal: &mut Wal) -> Result<(), KvError> {
        self.start_checkpoint(wal)?;
        self.checkpointer.wait()
    }

    fn lock(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of the active log file.
    #[cfg(test)]
    pub(super) fn wal_end(&self) -> u64 {
        self.lock().end()
    }
}

impl Drop for WalTree {
    fn drop(&mut self) {
        let mut wal = self.lock();
        // If this fails, the log still contains the entries, and the next opening replays it.
        if self.checkpoint(&mut wal).is_ok() {
            drop(wal.empty());
        }
        drop(wal);
        self.checkpointer.stop();
        if let Some(thread) = self.thread.take() {
            // The tree converts panics into errors, so the result carries no information.
            drop(thread.join());
        }
    }
}
