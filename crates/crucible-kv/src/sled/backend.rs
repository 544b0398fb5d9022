//! The sled backend in a directory.

use std::fs::TryLockError;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ::sled::{Db, IVec, Mode};
use bytes::Bytes;

use super::sled_entry::{SledEntry, chunk_key, data_key, data_range, logical_key};
use crate::panic_guard::{catch_panics, drop_quietly};
use crate::store_directory::quoted;
use crate::{Backend, Batch, Durability, KvError, Range, StoreDirectory};

const KIND: &str = "sled";
const FILES: &str = "data.sled";

/// The time limit for sled's threads to release the file.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// The size of the page cache.
const CACHE: u64 = 64 * 1024 * 1024;

/// sled in a directory of its own.
///
/// The strongest durability is [`Durability::Process`]. sled flushes with sync_file_range(2), which
/// does not flush the device's cache, and then reuses segments whose content was flushed elsewhere
/// in this way. A power cut can therefore lose older data, and a later fsync(2) by this backend
/// could not prevent it.
///
/// Values over 6 KiB are split into chunks, because sled does not release the space of large
/// values.
///
/// After a failed commit, all further commits fail, because sled may wait forever for the lost
/// write. Open the store again to write.
pub struct SledBackend {
    directory: StoreDirectory,
    /// The display name of the files.
    file: Arc<str>,
    /// Reads hold the lock shared and commits exclusively, because sled's own scans can see a part
    /// of a batch. `None` while the backend is being dropped.
    database: RwLock<Option<Db>>,
    /// The error of the first failed commit.
    failure: OnceLock<KvError>,
}

impl std::fmt::Debug for SledBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledBackend").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledBackend {
    /// Opens the store in a directory, or creates one.
    ///
    /// # Errors
    /// Returns [`KvError::Locked`], [`KvError::UnsupportedFormat`], [`KvError::Corrupt`] with the
    /// name of the files, or an error if the directory cannot be written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        let directory = StoreDirectory::take(directory.as_ref(), KIND)?;
        let path = directory.path().join(FILES);
        let file: Arc<str> = quoted(&path).into();
        // sled would create a new store in place of missing files.
        if !directory.is_new() && !path.join("db").exists() {
            return Err(KvError::Corrupt { what: file, source: None });
        }
        wait_until_free(&path.join("db"));
        remove_unfinished_snapshots(&path)
            .map_err(|error| KvError::from_io(Arc::clone(&file), error))?;
        let database = catch_panics(&file, || {
            let config = ::sled::Config::new()
                .path(&path)
                .cache_capacity(CACHE)
                .mode(Mode::HighThroughput)
                // Commits flush. A periodic flush would only delay them.
                .flush_every_ms(None);
            config.open().map_err(|error| convert_error(&file, error))
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
        catch_panics(&self.file, || action(database))
    }

    /// Runs a write unless an earlier write has failed. Stores the first error.
    fn unless_failed(&self, write: impl FnOnce() -> Result<(), KvError>) -> Result<(), KvError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        write().inspect_err(|failure| {
            // `set` keeps the first error.
            let _ = self.failure.set(failure.clone());
        })
    }

    fn flush(&self) -> Result<(), KvError> {
        self.read(|database| database.flush().map(drop).map_err(|error| self.failed(error)))
    }

    fn failed(&self, error: ::sled::Error) -> KvError {
        convert_error(&self.file, error)
    }

    /// Returns the value of an entry, joined from its chunks if necessary.
    fn value(&self, database: &Db, key: &[u8], entry: &IVec) -> Result<Bytes, KvError> {
        let corrupt = || KvError::Corrupt {
            what: format!("the value of the key \"{}\" in {}", key.escape_ascii(), self.file)
                .into(),
            source: None,
        };
        match SledEntry::parse(entry).ok_or_else(corrupt)? {
            SledEntry::Whole(value) => Ok(Bytes::copy_from_slice(value)),
            SledEntry::Chunks(count) => {
                let mut value = Vec::new();
                for index in 0..count {
                    let chunk =
                        database.get(chunk_key(key, index)).map_err(|error| self.failed(error))?;
                    value.extend_from_slice(&chunk.ok_or_else(corrupt)?);
                }
                Ok(value.into())
            }
        }
    }

    /// Returns a batch as sled writes: with the chunks of new values, and with deletes of the
    /// chunks of replaced values.
    fn writes(&self, database: &Db, batch: &Batch) -> Result<::sled::Batch, KvError> {
        let mut writes = ::sled::Batch::default();
        for (key, value) in batch {
            let data_key = data_key(key);
            let before = database.get(&data_key).map_err(|error| self.failed(error))?;
            let chunks_before = before
                .as_ref()
                .map_or(0, |entry| SledEntry::parse(entry).map_or(0, SledEntry::chunks));
            let chunks = match value {
                Some(value) => {
                    let (entry, chunks) = SledEntry::of(value);
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

/// Waits until sled's own lock on its file is free. A thread of sled's may hold it for a short time
/// after a store in this process was dropped; other processes are kept out by the directory's lock.
/// After the time limit, the next opening gets sled's own error.
fn wait_until_free(path: &Path) {
    let Ok(file) = std::fs::File::open(path) else { return };
    let until = Instant::now() + RELEASE_TIMEOUT;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Removes incomplete snapshots, which a process leaves if it is killed while it writes one. sled
/// treats the newest file as complete and then reports the whole store as corrupt. Its log contains
/// all data of a snapshot.
fn remove_unfinished_snapshots(path: &Path) -> std::io::Result<()> {
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

fn convert_error(file: &Arc<str>, error: ::sled::Error) -> KvError {
    match error {
        ::sled::Error::Io(error) => match KvError::from_io(Arc::clone(file), error) {
            // It is unknown whether anything was written, so this is not `Full`.
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
            return Err(KvError::UnsupportedDurability {
                requested: durability,
                strongest: self.strongest(),
            });
        }
        self.unless_failed(|| {
            let database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = &*database else { return Err(KvError::Closed) };
            catch_panics(&self.file, || {
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

    /// Only flushes: sled reuses free space by itself and never shrinks its files.
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
            // sled flushes once more when it is dropped, which may never end. Drop it on a detached
            // thread. If that thread hangs or cannot be started, the file stays locked until this
            // process ends, and a later opening returns an error.
            let database = ManuallyDrop::new(database);
            let _detached = std::thread::Builder::new()
                .spawn(|| drop_quietly(ManuallyDrop::into_inner(database)));
        }
        // sled's threads may keep the file open for a short time. Keep the directory locked until
        // they close it.
        wait_until_free(&self.directory.path().join(FILES).join("db"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_removes_incomplete_snapshot() {
        let scratch = tempfile::tempdir().unwrap();
        let mut batch = Batch::new();
        batch.put("key", "value");
        let backend = SledBackend::open(scratch.path()).unwrap();
        backend.commit(&batch, Durability::Process).unwrap();
        drop(backend);
        let unfinished = scratch.path().join(FILES).join("snap.00000000FFFFFFFF.generating");
        std::fs::write(&unfinished, "the beginning of a snapshot whose writer was killed").unwrap();
        // sled alone reports the store as corrupt.
        let alone = ::sled::Config::new().path(scratch.path().join(FILES)).open();
        assert!(matches!(alone, Err(::sled::Error::Corruption { .. })), "{alone:?}");
        let backend = SledBackend::open(scratch.path()).unwrap();
        assert_eq!(backend.get(b"key").unwrap(), Some("value".into()));
        assert!(!unfinished.exists());
    }
}
