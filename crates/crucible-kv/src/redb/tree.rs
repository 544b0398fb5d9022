//! redb's own part: a tree in one file, copy on write.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ::redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};
use bytes::Bytes;

use super::blocks::Disk;
use super::file::{DataFile, Trouble};
use super::highest::{Highest, last_of_each};
use super::record::Salt;
use crate::guard::{drop_quietly, guarded};
use crate::{Batch, KvError, Range};

pub(super) const FILE: &str = "data.redb";

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The number of the last record of the log that the tree has.
const APPLIED: &str = "applied";

/// See [`Salt`].
const SALT: &str = "salt";

/// Pages that are kept in memory. The upper levels of a tree of some million entries fit well.
const CACHE: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Tree {
    disk: Box<dyn Disk>,
    /// As it is in messages.
    file: Arc<str>,
    /// `None` once it could not be opened again.
    open: RwLock<Option<Open>>,
    highest: Highest,
}

/// What is read of a file that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// What is needed to open it.
    Nothing,
    /// Every page.
    Everything,
}

#[derive(Debug)]
struct Open {
    database: Database,
    /// What went wrong below redb, which tells no more than that something did.
    trouble: Arc<Trouble>,
}

impl Tree {
    pub(super) fn open(disk: Box<dyn Disk>, check: Check) -> Result<Self, KvError> {
        let file: Arc<str> = disk.name(FILE).into();
        let open = guarded(&file, || {
            let mut open = Open::new(&*disk, &file)?;
            if check == Check::Everything {
                open.check(&file)?;
            }
            Ok(open)
        })?;
        Ok(Self { disk, file, open: RwLock::new(Some(open)), highest: Highest::default() })
    }

    /// The number of the last record that the tree has, and the store's salt.
    pub(super) fn meta(&self) -> Result<(u64, Salt), KvError> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(|error| self.failed(error))?;
            let table = transaction.open_table(META).map_err(|error| self.failed(error))?;
            let damaged = || KvError::Corrupt { what: Arc::clone(&self.file), source: None };
            let applied =
                table.get(APPLIED).map_err(|error| self.failed(error))?.ok_or_else(damaged)?;
            let salt = table.get(SALT).map_err(|error| self.failed(error))?.ok_or_else(damaged)?;
            let applied = applied.value().try_into().map_err(|_| damaged())?;
            Ok((u64::from_le_bytes(applied), salt.value().try_into().map_err(|_| damaged())?))
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(|error| self.failed(error))?;
            let table = transaction.open_table(ENTRIES).map_err(|error| self.failed(error))?;
            let value = table.get(key).map_err(|error| self.failed(error))?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    /// Whether it is known without a look that a key is not there.
    pub(super) fn is_known_to_lack(&self, key: &[u8]) -> bool {
        self.highest.is_before(key)
    }

    pub(super) fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(|error| self.failed(error))?;
            let table = transaction.open_table(ENTRIES).map_err(|error| self.failed(error))?;
            let mut entries =
                table.range::<&[u8]>(range.bounds()).map_err(|error| self.failed(error))?;
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

    /// Takes in what is in the log up to a record. All of it or nothing, and so that it survives a power cut.
    pub(super) fn apply(&self, batch: &Batch, applied: u64) -> Result<(), KvError> {
        let result = self.read(|database| {
            let mut transaction = database.begin_write().map_err(|error| self.failed(error))?;
            // It costs another flush and a little writing each time, and opening the file after a crash would read all of it
            // otherwise.
            transaction.set_quick_repair(true);
            {
                let mut table =
                    transaction.open_table(ENTRIES).map_err(|error| self.failed(error))?;
                for (key, value) in batch {
                    let written = match value {
                        Some(value) => table.insert(&key[..], &value[..]).map(drop),
                        None => table.remove(&key[..]).map(drop),
                    };
                    written.map_err(|error| self.failed(error))?;
                }
                for key in last_of_each(batch.iter().map(|(key, _)| key)) {
                    self.highest.raise(key, |kind| {
                        let kind = Range::prefix(Bytes::copy_from_slice(&kind));
                        let mut entries = table
                            .range::<&[u8]>(kind.bounds())
                            .map_err(|error| self.failed(error))?;
                        let last =
                            entries.next_back().transpose().map_err(|error| self.failed(error))?;
                        Ok::<_, KvError>(last.map(|(key, _)| Bytes::copy_from_slice(key.value())))
                    })?;
                }
                let mut table = transaction.open_table(META).map_err(|error| self.failed(error))?;
                table
                    .insert(APPLIED, &applied.to_le_bytes()[..])
                    .map_err(|error| self.failed(error))?;
            }
            transaction.commit().map_err(|error| self.failed(error))
        });
        result.map_err(|error| self.recover(error))
    }

    /// Moves pages from the end of the file to where others were, and cuts the end off.
    pub(super) fn compact(&self) -> Result<(), KvError> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *slot else { return Err(self.gone()) };
        let compacted = guarded(&self.file, || match open.database.compact() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        });
        drop(slot);
        compacted.map_err(|error| self.recover(error))
    }

    /// After a failure: redb closes its file for good if it cannot write. If that was for want of room, opening it again leaves
    /// exactly what was there before.
    fn recover(&self, error: KvError) -> KvError {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(full) = slot.as_ref().and_then(|open| open.trouble.full()) else { return error };
        drop_quietly(slot.take());
        match guarded(&self.file, || Open::new(&*self.disk, &self.file)) {
            Ok(open) => {
                *slot = Some(open);
                KvError::Full { source: full }
            }
            Err(error) => error,
        }
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
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop_quietly(self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Open {
    fn new(disk: &dyn Disk, file: &Arc<str>) -> Result<Self, KvError> {
        let blocks = disk.open(FILE).map_err(|error| KvError::from_io(Arc::clone(file), error))?;
        let data = DataFile::new(blocks);
        let trouble = data.trouble();
        let result = Self::with(data, &trouble).map_err(|error| failed(file, error));
        result.map_err(|error| trouble.full().map_or(error, |source| KvError::Full { source }))
    }

    fn check(&mut self, file: &Arc<str>) -> Result<(), KvError> {
        match self.database.check_integrity() {
            Ok(true) => Ok(()),
            // redb has mended it, by leaving out what it could not read.
            Ok(false) => Err(KvError::Corrupt { what: Arc::clone(file), source: None }),
            Err(error) => Err(failed(file, error)),
        }
    }

    fn with(data: DataFile, trouble: &Arc<Trouble>) -> Result<Self, ::redb::Error> {
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(data)?;
        match database.begin_read()?.open_table(META) {
            Ok(_) => {}
            // Reading a table that was never written is an error, so all are there from the beginning.
            Err(TableError::TableDoesNotExist(_)) => {
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                {
                    transaction.open_table(ENTRIES)?;
                    let mut table = transaction.open_table(META)?;
                    table.insert(APPLIED, &0_u64.to_le_bytes()[..])?;
                    table.insert(SALT, &new_salt()[..])?;
                }
                transaction.commit()?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self { database, trouble: Arc::clone(trouble) })
    }
}

/// Bytes that nobody can guess: the keys of the standard library's hash maps, which are random.
fn new_salt() -> Salt {
    let [first, second] = [(); 2].map(|()| RandomState::new().hash_one("salt").to_le_bytes());
    let mut salt = Salt::default();
    let (low, high) = salt.split_at_mut(first.len());
    low.copy_from_slice(&first);
    high.copy_from_slice(&second);
    salt
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
