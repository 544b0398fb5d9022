//! fjall as a backend: a log and sorted tables.

use std::path::Path;
use std::sync::Arc;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use bytes::Bytes;

use crate::directory::quoted;
use crate::guard::guarded;
use crate::{Backend, Batch, Directory, Durability, KvError, Range};

/// fjall in a directory of its own.
pub struct FjallBackend {
    directory: Directory,
    file: Arc<str>,
    database: Database,
    entries: Keyspace,
}

impl std::fmt::Debug for FjallBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallBackend").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl FjallBackend {
    /// Opens the store in a directory, or makes one.
    ///
    /// # Errors
    /// As for the others.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KvError> {
        let directory = Directory::take(directory.as_ref(), "fjall")?;
        let path = directory.path().join("fjall");
        let file: Arc<str> = quoted(&path).into();
        let (database, entries) = guarded(&file, || {
            let database = Database::builder(&path)
                .cache_size(64 << 20)
                .max_journaling_size(64 << 20)
                .worker_threads(1)
                .open()
                .map_err(|error| failed(&file, error))?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(16 << 20);
            let entries = database.keyspace("entries", options).map_err(|error| failed(&file, error))?;
            Ok((database, entries))
        })?;
        directory.mark()?;
        Ok(Self { directory, file, database, entries })
    }
}

fn failed(file: &Arc<str>, error: ::fjall::Error) -> KvError {
    match error {
        ::fjall::Error::Io(error) => KvError::from_io(Arc::clone(file), error),
        error => KvError::Corrupt { what: Arc::clone(file), source: Some(Arc::new(error)) },
    }
}

impl Backend for FjallBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        guarded(&self.file, || {
            let Some(value) = self.entries.get(key).map_err(|error| failed(&self.file, error))? else {
                return Ok(None);
            };
            Ok(Some(Bytes::copy_from_slice(&value)))
        })
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        guarded(&self.file, || {
            let mut entries = self.entries.range::<&[u8], _>(range.bounds());
            let next = || if range.is_reversed() { entries.next_back() } else { entries.next() };
            std::iter::from_fn(next)
                .take(limit)
                .map(|entry| {
                    let (key, value) = entry.into_inner().map_err(|error| failed(&self.file, error))?;
                    Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
                })
                .collect()
        })
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        guarded(&self.file, || {
            let mode = match durability {
                Durability::Power => Some(PersistMode::SyncData),
                Durability::Process => Some(PersistMode::Buffer),
                Durability::Buffered => None,
            };
            let mut writes = self.database.batch().durability(mode);
            for (key, value) in batch {
                match value {
                    Some(value) => writes.insert(&self.entries, &key[..], &value[..]),
                    None => writes.remove(&self.entries, &key[..]),
                }
            }
            writes.commit().map_err(|error| failed(&self.file, error))?;
            match mode {
                Some(mode) if batch.is_empty() => {
                    self.database.persist(mode).map_err(|error| failed(&self.file, error))
                }
                _ => Ok(()),
            }
        })
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
        guarded(&self.file, || {
            self.entries.rotate_memtable_and_wait().map_err(|error| failed(&self.file, error))?;
            self.entries.major_compact().map_err(|error| failed(&self.file, error))
        })
    }
}
