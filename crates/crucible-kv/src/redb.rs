//! A log of our own before a tree of redb's.

mod blocks;
#[cfg(test)]
mod crash;
mod file;
mod highest;
mod keeper;
mod log;
mod record;
mod tree;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use self::blocks::{Disk, Files};
use self::keeper::Keeper;
use self::log::Log;
use self::tree::{Check, FILE, Tree};
use crate::directory::quoted;
use crate::merge::Merged;
use crate::{Backend, Batch, Directory, Durability, KvError, Range};

const KIND: &str = "redb";

/// How much is in the log, and in memory, before it is brought into the tree: twice that at the most. The more, the less the tree
/// writes; opening after a crash reads it.
const LOGGED: u64 = 8 * 1024 * 1024;

/// redb in a directory of its own, with a log before it: the files `data.redb`, `log.0` and `log.1`.
///
/// A commit is one write at the end of the log, and for [`Durability::Power`] one fdatasync(2). What is in the log is in
/// memory too, and a thread brings it into redb's tree, 8 MiB at a time: a commit of the tree itself writes every page on the way
/// to every key, so it is worth little for a few records and much for many. Closing brings the rest there and empties the log.
///
/// After a crash the log is read, to where it ends: at a record that is not whole, and that nothing after it calls durable.
/// [`KvError::Corrupt`] names a record that is missing otherwise. The very last record alone is taken for torn if a byte of it has
/// changed since.
///
/// If there is no room, nothing of a commit is written, and the next one may succeed.
#[derive(Debug)]
pub struct RedbBackend {
    logged: Logged,
    /// Goes last: until then nobody else may have the files.
    directory: Directory,
}

#[derive(Debug)]
struct Logged {
    log: Mutex<Log>,
    keeper: Arc<Keeper>,
    thread: Option<JoinHandle<()>>,
}

impl RedbBackend {
    /// Opens the store in a directory, or makes one.
    ///
    /// # Errors
    /// [`KvError::Locked`], [`KvError::TooNew`]; [`KvError::Corrupt`] names the file; or the directory cannot be written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        Self::open_with(directory.as_ref(), Check::Nothing)
    }

    /// Opens a store, and first reads all of it to compare every page with its checksum. This finds what reading an entry cannot: that
    /// there was another one. It takes about a second for each GiB.
    ///
    /// # Errors
    /// As of [`open`](Self::open); [`KvError::Corrupt`] also if a byte of a page that is in use has changed.
    pub fn open_verified(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        Self::open_with(directory.as_ref(), Check::Everything)
    }

    fn open_with(directory: &Path, check: Check) -> Result<Self, KvError> {
        let directory = Directory::take(directory, KIND)?;
        // redb would make a new store of it.
        let path = directory.path().join(FILE);
        let is_empty = || path.metadata().map_or(true, |metadata| metadata.len() == 0);
        if !directory.is_new() && is_empty() {
            return Err(KvError::Corrupt { what: quoted(&path).into(), source: None });
        }
        let logged = Logged::open(LOGGED, check, || Box::new(Files(directory.path().to_owned())))?;
        directory.mark()?;
        Ok(Self { logged, directory })
    }
}

impl Logged {
    fn open(most: u64, check: Check, disk: impl Fn() -> Box<dyn Disk>) -> Result<Self, KvError> {
        let tree = Tree::open(disk(), check)?;
        let (applied, salt) = tree.meta()?;
        let (log, found) = Log::open(&*disk(), most, applied, salt)?;
        if found.last > applied {
            tree.apply(&found.batch, found.last)?;
        }
        let keeper = Arc::new(Keeper::new(tree));
        let thread = thread::Builder::new().name("crucible-kv-tree".to_owned()).spawn({
            let keeper = Arc::clone(&keeper);
            move || keeper.run()
        });
        let thread = thread.map_err(|error| KvError::from_io("a thread", error))?;
        Ok(Self { log: Mutex::new(log), keeper, thread: Some(thread) })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.get_cached(key) {
            Some(value) => Ok(value),
            // What comes into the tree meanwhile was not of this key, or is newer.
            None => self.keeper.tree().get(key),
        }
    }

    /// What is in the log is in memory.
    fn get_cached(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let recent = self.keeper.recent();
        match recent.active.get(key).or_else(|| recent.settling.get(key)) {
            Some(value) => Some(value.cloned()),
            None => self.keeper.tree().is_known_to_lack(key).then_some(None),
        }
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let recent = self.keeper.recent();
        let stored = |range: &Range, limit| self.keeper.tree().scan(range, limit);
        Merged::new(stored, [&recent.active, &recent.settling], range, limit).take(limit).collect()
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        let mut log = self.lock();
        let written = if batch.is_empty() {
            Bytes::new()
        } else {
            if log.is_full() {
                self.settle(&mut log)?;
            }
            log.append(batch)?
        };
        if durability == Durability::Power {
            log.sync()?;
        }
        // It was encoded a moment ago.
        let damaged = || KvError::Corrupt { what: "a record in memory".into(), source: None };
        self.keeper.add(&written).ok_or_else(damaged)
    }

    /// Lets what is in the active file be brought into the tree, once that is done for the other one.
    fn settle(&self, log: &mut Log) -> Result<(), KvError> {
        self.keeper.wait()?;
        if !self.keeper.recent().active.is_empty() {
            log.switch()?;
            self.keeper.settle(log.last());
        }
        Ok(())
    }

    fn settle_all(&self, log: &mut Log) -> Result<(), KvError> {
        self.settle(log)?;
        self.keeper.wait()
    }

    fn compact(&self) -> Result<(), KvError> {
        let mut log = self.lock();
        self.settle_all(&mut log)?;
        self.keeper.tree().compact()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let mut log = self.lock();
        // If it fails, the log has what the tree lacks, and whoever opens it next reads that.
        if self.settle_all(&mut log).is_ok() {
            drop(log.empty());
        }
        drop(log);
        self.keeper.stop();
        if let Some(thread) = self.thread.take() {
            // What it does is guarded against panics.
            drop(thread.join());
        }
    }
}

impl Backend for RedbBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.logged.get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        Ok(self.logged.get_cached(key))
    }

    fn settled(&self) -> Option<u64> {
        Some(self.logged.keeper.recent().settled)
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.logged.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        self.logged.commit(batch, durability)
    }

    fn strongest(&self) -> Durability {
        Durability::Power
    }

    fn reads_wait(&self) -> bool {
        true
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.directory.disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        self.logged.compact()
    }
}
