//! redb as a backend: one file, copy on write.

mod file;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ::redb::{Builder, Database, ReadableDatabase as _, TableDefinition};
use bytes::Bytes;

use self::file::{DataFile, Trouble};
use crate::directory::quoted;
use crate::guard::{drop_quietly, guarded};
use crate::{Backend, Batch, Directory, Durability, KvError, Range};

const KIND: &str = "redb";
const FILE: &str = "data.redb";
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// How much may be written before a commit is made durable that need not be: until then redb keeps all of it in memory.
const UNSYNCED: usize = 16 * 1024 * 1024;

/// Pages that are kept in memory. The upper levels of a tree of some million entries fit well.
const CACHE: usize = 64 * 1024 * 1024;

/// redb in a directory of its own.
///
/// Keeps [`Durability::Power`]: a commit ends with one fdatasync(2). [`Durability::Process`] is kept the same way and costs the
/// same.
///
/// If there is no room, redb closes its file for good; it is then opened again, which shows that nothing was written. After a
/// commit that was [`Durability::Buffered`] it is not, since that commit would be lost: the store is poisoned.
#[derive(Debug)]
pub struct RedbBackend {
    directory: Directory,
    path: PathBuf,
    /// As it is in messages.
    file: Arc<str>,
    open: RwLock<Option<Open>>,
    /// Bytes that were written since the last commit that was made durable.
    unsynced: AtomicUsize,
}

#[derive(Debug)]
struct Open {
    database: Database,
    /// What went wrong below redb, which tells no more than that something did.
    trouble: Arc<Trouble>,
}

impl RedbBackend {
    /// Opens the store in a directory, or makes one.
    ///
    /// # Errors
    /// [`KvError::Locked`], [`KvError::TooNew`]; [`KvError::Corrupt`] names the file; or the directory cannot be written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        let directory = Directory::take(directory.as_ref(), KIND)?;
        let path = directory.path().join(FILE);
        let file: Arc<str> = quoted(&path).into();
        // redb would make a new store of it.
        let is_empty = || path.metadata().map_or(true, |metadata| metadata.len() == 0);
        if !directory.is_new() && is_empty() {
            return Err(KvError::Corrupt { what: file, source: None });
        }
        let open = guarded(&file, || Open::new(&path, &file))?;
        directory.mark()?;
        Ok(Self { directory, path, file, open: RwLock::new(Some(open)), unsynced: AtomicUsize::new(0) })
    }

    fn read<T>(&self, action: impl FnOnce(&Database) -> Result<T, KvError>) -> Result<T, KvError> {
        let open = self.shared();
        let Some(open) = &*open else { return Err(self.gone()) };
        guarded(&self.file, || action(&open.database))
    }

    fn shared(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> KvError {
        let source = std::io::Error::other("it could not be opened again after it was full");
        KvError::from_io(Arc::clone(&self.file), source)
    }

    fn failed(&self, error: impl Into<::redb::Error>) -> KvError {
        failed(&self.file, error)
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        let immediate = durability > Durability::Buffered
            || self.unsynced.load(Ordering::Relaxed) + batch.bytes() > UNSYNCED;
        self.read(|database| {
            let mut transaction = database.begin_write().map_err(|error| self.failed(error))?;
            let level = if immediate { ::redb::Durability::Immediate } else { ::redb::Durability::None };
            transaction.set_durability(level).map_err(|error| self.failed(error))?;
            {
                let mut table = transaction.open_table(TABLE).map_err(|error| self.failed(error))?;
                for (key, value) in batch {
                    let written = match value {
                        Some(value) => table.insert(&key[..], &value[..]).map(drop),
                        None => table.remove(&key[..]).map(drop),
                    };
                    written.map_err(|error| self.failed(error))?;
                }
            }
            transaction.commit().map_err(|error| self.failed(error))
        })?;
        if immediate {
            self.unsynced.store(0, Ordering::Relaxed);
        } else {
            self.unsynced.fetch_add(batch.bytes().max(1), Ordering::Relaxed);
        }
        Ok(())
    }

    /// After a failure: opens the file again if that leaves exactly what was committed before.
    fn recover(&self, error: KvError) -> KvError {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let full = slot.as_ref().and_then(|open| open.trouble.full());
        let Some(full) = full.filter(|_| self.unsynced.load(Ordering::Relaxed) == 0) else { return error };
        drop_quietly(slot.take());
        match guarded(&self.file, || Open::new(&self.path, &self.file)) {
            Ok(open) => {
                *slot = Some(open);
                KvError::Full { source: full }
            }
            Err(error) => error,
        }
    }
}

impl Open {
    fn new(path: &Path, file: &Arc<str>) -> Result<Self, KvError> {
        let data = DataFile::open(path).map_err(|error| KvError::from_io(Arc::clone(file), error))?;
        let trouble = data.trouble();
        let database = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(data)
            .map_err(|error| full_or(&trouble, failed(file, error)))?;
        let open = Self { database, trouble };
        // Reading a table that was never written is an error, so it is there from the beginning.
        let missing = open.database.begin_read().map_err(|error| failed(file, error))?.open_table(TABLE);
        if let Err(::redb::TableError::TableDoesNotExist(_)) = missing {
            let transaction = open.database.begin_write().map_err(|error| failed(file, error))?;
            drop(transaction.open_table(TABLE).map_err(|error| failed(file, error))?);
            transaction.commit().map_err(|error| full_or(&open.trouble, failed(file, error)))?;
        } else {
            missing.map_err(|error| failed(file, error))?;
        }
        Ok(open)
    }
}

fn full_or(trouble: &Trouble, error: KvError) -> KvError {
    trouble.full().map_or(error, |source| KvError::Full { source })
}

fn failed(file: &Arc<str>, error: impl Into<::redb::Error>) -> KvError {
    match error.into() {
        ::redb::Error::Io(error) => KvError::from_io(Arc::clone(file), error),
        error @ (::redb::Error::Corrupted(_)
        | ::redb::Error::TableTypeMismatch { .. }
        | ::redb::Error::TableDoesNotExist(_)
        | ::redb::Error::UpgradeRequired(_)) => {
            KvError::Corrupt { what: Arc::clone(file), source: Some(Arc::new(error)) }
        }
        error => KvError::Unavailable { what: Arc::clone(file), source: Arc::new(error) },
    }
}

impl Backend for RedbBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(|error| self.failed(error))?;
            let table = transaction.open_table(TABLE).map_err(|error| self.failed(error))?;
            let Some(value) = table.get(key).map_err(|error| self.failed(error))? else { return Ok(None) };
            Ok(Some(Bytes::copy_from_slice(value.value())))
        })
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|database| {
            let transaction = database.begin_read().map_err(|error| self.failed(error))?;
            let table = transaction.open_table(TABLE).map_err(|error| self.failed(error))?;
            let mut entries = table.range::<&[u8]>(range.bounds()).map_err(|error| self.failed(error))?;
            let next = || if range.is_reversed() { entries.next_back() } else { entries.next() };
            std::iter::from_fn(next)
                .take(limit)
                .map(|entry| {
                    let (key, value) = entry.map_err(|error| self.failed(error))?;
                    Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
                })
                .collect()
        })
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        self.write(batch, durability).map_err(|error| self.recover(error))
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
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *slot else { return Err(self.gone()) };
        let compacted = guarded(&self.file, || match open.database.compact() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        });
        drop(slot);
        compacted.map_err(|error| self.recover(error))
    }
}

impl Drop for RedbBackend {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop_quietly(open);
    }
}
