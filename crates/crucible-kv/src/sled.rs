//! sled as a backend: a log-structured tree.

mod chunks;

use std::fs::TryLockError;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ::sled::{Db, IVec, Mode};
use bytes::Bytes;

use self::chunks::{Entry, chunk_key, data_key, data_range, logical_key};
use crate::directory::quoted;
use crate::guard::{drop_quietly, guarded};
use crate::{Backend, Batch, Directory, Durability, KvError, Range};

const KIND: &str = "sled";
const FILES: &str = "data.sled";

/// How long sled's threads have to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pages that are kept in memory.
const CACHE: u64 = 64 * 1024 * 1024;

/// sled in a directory of its own.
///
/// The strongest that it keeps is [`Durability::Process`]. sled flushes with sync_file_range(2), which does not tell the device
/// to keep anything; and it writes over a part of its file as soon as what was in there was flushed elsewhere in that way. So a power
/// cut can take what was durable before, and no fsync(2) of ours, which comes later, could prevent that.
///
/// Values over 6 KiB are kept in pieces, since sled does not give back the space of large ones.
///
/// After a commit that failed none succeeds: sled may wait without end for what it could not write. Open the store again to go on.
pub struct SledBackend {
    directory: Directory,
    /// As it is in messages.
    file: Arc<str>,
    /// Read by whoever scans and written by whoever commits, since sled's own scans can see a part of a batch. It is empty once it
    /// is being dropped.
    database: RwLock<Option<Db>>,
    /// The first commit that failed.
    failure: OnceLock<KvError>,
}

impl std::fmt::Debug for SledBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledBackend").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledBackend {
    /// Opens the store in a directory, or makes one.
    ///
    /// # Errors
    /// [`KvError::Locked`], [`KvError::TooNew`]; [`KvError::Corrupt`] names the files; or the directory cannot be written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        let directory = Directory::take(directory.as_ref(), KIND)?;
        let path = directory.path().join(FILES);
        let file: Arc<str> = quoted(&path).into();
        // sled would make a new store.
        if !directory.is_new() && !path.join("db").exists() {
            return Err(KvError::Corrupt { what: file, source: None });
        }
        wait_until_free(&path.join("db"));
        remove_unfinished(&path).map_err(|error| KvError::from_io(Arc::clone(&file), error))?;
        let database = guarded(&file, || {
            let config = ::sled::Config::new()
                .path(&path)
                .cache_capacity(CACHE)
                .mode(Mode::HighThroughput)
                // Commits flush: a thread that flushes besides would be in their way.
                .flush_every_ms(None);
            config.open().map_err(|error| failed(&file, error))
        })?;
        directory.mark()?;
        Ok(Self {
            directory,
            file,
            database: RwLock::new(Some(database)),
            failure: OnceLock::new(),
        })
    }

    fn read<T>(&self, action: impl FnOnce(&Db) -> Result<T, KvError>) -> Result<T, KvError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(KvError::Closed) };
        guarded(&self.file, || action(database))
    }

    /// Writes, unless a write has failed.
    fn unless_failed(&self, write: impl FnOnce() -> Result<(), KvError>) -> Result<(), KvError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        write().inspect_err(|failure| {
            // Only the first says why.
            let _ = self.failure.set(failure.clone());
        })
    }

    fn flush(&self) -> Result<(), KvError> {
        self.read(|database| database.flush().map(drop).map_err(|error| self.failed(error)))
    }

    fn failed(&self, error: ::sled::Error) -> KvError {
        failed(&self.file, error)
    }

    /// The value that belongs to an entry, put together if it is in pieces.
    fn value(&self, database: &Db, key: &[u8], entry: &IVec) -> Result<Bytes, KvError> {
        let damaged = || KvError::Corrupt {
            what: format!("the value of the key \"{}\" in {}", key.escape_ascii(), self.file)
                .into(),
            source: None,
        };
        match Entry::parse(entry).ok_or_else(damaged)? {
            Entry::Whole(value) => Ok(Bytes::copy_from_slice(value)),
            Entry::Chunks(count) => {
                let mut value = Vec::new();
                for index in 0..count {
                    let chunk =
                        database.get(chunk_key(key, index)).map_err(|error| self.failed(error))?;
                    value.extend_from_slice(&chunk.ok_or_else(damaged)?);
                }
                Ok(value.into())
            }
        }
    }

    /// The writes as sled's, with the pieces of what is written and without those of what was there.
    fn writes(&self, database: &Db, batch: &Batch) -> Result<::sled::Batch, KvError> {
        let mut writes = ::sled::Batch::default();
        for (key, value) in batch {
            let data_key = data_key(key);
            let before = database.get(&data_key).map_err(|error| self.failed(error))?;
            let chunks_before =
                before.as_ref().map_or(0, |entry| Entry::parse(entry).map_or(0, Entry::chunks));
            let chunks = match value {
                Some(value) => {
                    let (entry, chunks) = Entry::of(value);
                    writes.insert(data_key, entry);
                    for (index, chunk) in (0..).zip(&chunks) {
                        writes.insert(chunk_key(key, index), *chunk);
                    }
                    (0..).zip(&chunks).last().map_or(0, |(last, _)| last + 1)
                }
                None => {
                    writes.remove(data_key);
                    0
                }
            };
            for index in chunks..chunks_before {
                writes.remove(chunk_key(key, index));
            }
        }
        Ok(writes)
    }
}

/// Waits until nothing has the file locked that sled locks itself: a thread of its own may still, for a moment after a store in
/// this process was dropped. Nobody else has it, since the directory is ours. If it takes too long, sled's own error says so
/// to whoever opens it next.
fn wait_until_free(path: &Path) {
    let Ok(file) = std::fs::File::open(path) else { return };
    let until = Instant::now() + PATIENCE;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Removes snapshots that a process was killed over. sled takes such a file for a whole one if it is the newest, and then all of the
/// store for damaged; its log has everything that is in one.
fn remove_unfinished(path: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn failed(file: &Arc<str>, error: ::sled::Error) -> KvError {
    match error {
        ::sled::Error::Io(error) => match KvError::from_io(Arc::clone(file), error) {
            // Whether anything was written nobody knows, so that it is not `Full`.
            KvError::Full { source } => KvError::Unavailable { what: Arc::clone(file), source },
            error => error,
        },
        error => KvError::Corrupt { what: Arc::clone(file), source: Some(Arc::new(error)) },
    }
}

impl Backend for SledBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(|database| {
            let entry = database.get(data_key(key)).map_err(|error| self.failed(error))?;
            entry.map(|entry| self.value(database, key, &entry)).transpose()
        })
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|database| {
            let mut entries = database.range(data_range(range));
            let next = || if range.is_reversed() { entries.next_back() } else { entries.next() };
            std::iter::from_fn(next)
                .take(limit)
                .map(|entry| {
                    let (key, entry) = entry.map_err(|error| self.failed(error))?;
                    let key = Bytes::copy_from_slice(logical_key(&key));
                    let value = self.value(database, &key, &entry)?;
                    Ok((key, value))
                })
                .collect()
        })
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        if durability > self.strongest() {
            return Err(KvError::TooWeak { asked: durability, strongest: self.strongest() });
        }
        self.unless_failed(|| {
            let database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = &*database else { return Err(KvError::Closed) };
            guarded(&self.file, || {
                let writes = self.writes(open, batch)?;
                open.apply_batch(writes).map_err(|error| self.failed(error))
            })?;
            drop(database);
            if durability == Durability::Buffered { Ok(()) } else { self.flush() }
        })
    }

    fn strongest(&self) -> Durability {
        Durability::Process
    }

    fn reads_wait(&self) -> bool {
        true
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.directory.disk_bytes()
    }

    /// sled uses its space again by itself, and gives none of it back.
    fn compact(&self) -> Result<(), KvError> {
        self.unless_failed(|| self.flush())
    }
}

impl Drop for SledBackend {
    fn drop(&mut self) {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.failure.get().is_none() {
            drop_quietly(database);
        } else {
            // sled flushes once more, which may not end. Then, and where there is no thread for it, the file stays locked until this
            // process ends, and whoever opens the store meanwhile is told so.
            let database = ManuallyDrop::new(database);
            let _detached = std::thread::Builder::new()
                .spawn(|| drop_quietly(ManuallyDrop::into_inner(database)));
        }
        // Threads of sled's may have the file open a moment longer; until then the directory is still in use, and stays locked.
        wait_until_free(&self.directory.path().join(FILES).join("db"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_a_process_was_killed_over_is_not_taken_for_damage() {
        let scratch = tempfile::tempdir().unwrap();
        let mut batch = Batch::new();
        batch.put("key", "value");
        let backend = SledBackend::open(scratch.path()).unwrap();
        backend.commit(&batch, Durability::Process).unwrap();
        drop(backend);
        let unfinished = scratch.path().join(FILES).join("snap.00000000FFFFFFFF.generating");
        std::fs::write(
            &unfinished,
            "the beginning of a snapshot, as it was when the process was killed",
        )
        .unwrap();
        // Without our help sled finds the store damaged.
        let alone = ::sled::Config::new().path(scratch.path().join(FILES)).open();
        assert!(matches!(alone, Err(::sled::Error::Corruption { .. })), "{alone:?}");
        let backend = SledBackend::open(scratch.path()).unwrap();
        assert_eq!(backend.get(b"key").unwrap(), Some("value".into()));
        assert!(!unfinished.exists());
    }
}
