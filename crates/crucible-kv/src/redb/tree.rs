//! The redb database: a copy-on-write tree in one file.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ::redb::{
    Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table,
    TableDefinition, TableError,
};
use bytes::Bytes;

use super::data_file::{DataFile, FirstFailure};
use super::disk::Disk;
use super::highest_keys::{HighestKeys, last_of_each};
use super::wal_record::Salt;
use crate::panic_guard::{catch_panics, drop_quietly};
use crate::{Batch, KvError, Range};

pub(super) const FILE: &str = "data.redb";

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The key of the number of the last log record that the tree contains.
const APPLIED: &str = "applied";

/// The key of the [`Salt`].
const SALT: &str = "salt";

/// The size of the page cache. The upper levels of a tree with some million entries fit in it.
const CACHE: usize = 64 * 1024 * 1024;

/// A redb database with the entries of a store.
#[derive(Debug)]
pub(super) struct RedbTree {
    disk: Box<dyn Disk>,
    /// The display name of the file.
    file: Arc<str>,
    /// `None` after reopening has failed.
    open: RwLock<Option<OpenDatabase>>,
    highest: HighestKeys,
}

/// The extent of the check when a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenCheck {
    /// Only the pages that opening needs.
    Nothing,
    /// Every page.
    Everything,
}

#[derive(Debug)]
struct OpenDatabase {
    database: Database,
    /// The first failure of the file. redb itself reports only that an operation failed.
    failure: Arc<FirstFailure>,
}

impl RedbTree {
    pub(super) fn open(disk: Box<dyn Disk>, check: OpenCheck) -> Result<Self, KvError> {
        let file: Arc<str> = disk.name(FILE).into();
        let open = catch_panics(&file, || {
            let mut open = OpenDatabase::new(&*disk, &file)?;
            if check == OpenCheck::Everything {
                open.check(&file)?;
            }
            Ok(open)
        })?;
        Ok(Self { disk, file, open: RwLock::new(Some(open)), highest: HighestKeys::default() })
    }

    /// Returns the number of the last log record that the tree contains, and the store's salt.
    pub(super) fn meta(&self) -> Result<(u64, Salt), KvError> {
        self.read(|transaction| {
            let table = transaction.open_table(META).map_err(|error| self.failed(error))?;
            let corrupt = || KvError::Corrupt { what: Arc::clone(&self.file), source: None };
            let applied =
                table.get(APPLIED).map_err(|error| self.failed(error))?.ok_or_else(corrupt)?;
            let salt = table.get(SALT).map_err(|error| self.failed(error))?.ok_or_else(corrupt)?;
            let applied = applied.value().try_into().map_err(|_| corrupt())?;
            Ok((u64::from_le_bytes(applied), salt.value().try_into().map_err(|_| corrupt())?))
        })
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(|transaction| {
            let table = transaction.open_table(ENTRIES).map_err(|error| self.failed(error))?;
            let value = table.get(key).map_err(|error| self.failed(error))?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    /// Returns `true` if the tree certainly does not contain a key, which needs no lookup.
    pub(super) fn is_known_to_lack(&self, key: &[u8]) -> bool {
        self.highest.is_before(key)
    }

    /// Returns the first `limit` entries of a range, in the order of the range.
    pub(super) fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read(|transaction| {
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

    /// Writes the batch of all log records up to `applied`, as a whole or not at all. The result
    /// survives a power cut.
    pub(super) fn apply(&self, batch: &Batch, applied: u64) -> Result<(), KvError> {
        let result = self.with_database(|database| {
            let mut transaction = database.begin_write().map_err(|error| self.failed(error))?;
            // Quick repair costs one more flush and a small write for each commit. Without it,
            // opening the file after a crash reads all of it.
            transaction.set_quick_repair(true);
            {
                let mut entries =
                    transaction.open_table(ENTRIES).map_err(|error| self.failed(error))?;
                self.write_entries(&mut entries, batch)?;
                self.track_highest_keys(&entries, batch)?;
                let mut meta = transaction.open_table(META).map_err(|error| self.failed(error))?;
                meta.insert(APPLIED, &applied.to_le_bytes()[..])
                    .map_err(|error| self.failed(error))?;
            }
            transaction.commit().map_err(|error| self.failed(error))
        });
        result.map_err(|error| self.reopen_if_full(error))
    }

    fn write_entries(
        &self,
        entries: &mut Table<'_, &[u8], &[u8]>,
        batch: &Batch,
    ) -> Result<(), KvError> {
        for (key, value) in batch {
            let written = match value {
                Some(value) => entries.insert(&key[..], &value[..]).map(drop),
                None => entries.remove(&key[..]).map(drop),
            };
            written.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn track_highest_keys(
        &self,
        entries: &Table<'_, &[u8], &[u8]>,
        batch: &Batch,
    ) -> Result<(), KvError> {
        for key in last_of_each(batch.iter().map(|(key, _)| key)) {
            self.highest.raise(key, |kind| {
                let kind = Range::prefix(Bytes::copy_from_slice(&kind));
                let mut stored =
                    entries.range::<&[u8]>(kind.bounds()).map_err(|error| self.failed(error))?;
                let last = stored.next_back().transpose().map_err(|error| self.failed(error))?;
                Ok::<_, KvError>(last.map(|(key, _)| Bytes::copy_from_slice(key.value())))
            })?;
        }
        Ok(())
    }

    /// Moves pages from the end of the file into free space, and truncates the file.
    pub(super) fn compact(&self) -> Result<(), KvError> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *slot else { return Err(self.closed()) };
        let compacted = catch_panics(&self.file, || match open.database.compact() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        });
        drop(slot);
        compacted.map_err(|error| self.reopen_if_full(error))
    }

    /// Opens the database again if the failure was a full disk. redb refuses all further calls
    /// after a failed write; after a full disk, reopening restores exactly the previous content.
    fn reopen_if_full(&self, error: KvError) -> KvError {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(full) = slot.as_ref().and_then(|open| open.failure.full()) else { return error };
        drop_quietly(slot.take());
        match catch_panics(&self.file, || OpenDatabase::new(&*self.disk, &self.file)) {
            Ok(open) => {
                *slot = Some(open);
                KvError::Full { source: full }
            }
            Err(error) => error,
        }
    }

    fn read<T>(
        &self,
        action: impl FnOnce(&ReadTransaction) -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        self.with_database(|database| {
            action(&database.begin_read().map_err(|error| self.failed(error))?)
        })
    }

    fn with_database<T>(
        &self,
        action: impl FnOnce(&Database) -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        let open = self.lock_shared();
        let Some(open) = &*open else { return Err(self.closed()) };
        catch_panics(&self.file, || action(&open.database))
    }

    fn lock_shared(&self) -> RwLockReadGuard<'_, Option<OpenDatabase>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error of a database that could not be opened again.
    fn closed(&self) -> KvError {
        let source = std::io::Error::other("cannot open it again after the disk was full");
        KvError::from_io(Arc::clone(&self.file), source)
    }

    fn failed(&self, error: impl Into<::redb::Error>) -> KvError {
        convert_error(&self.file, error)
    }
}

impl Drop for RedbTree {
    fn drop(&mut self) {
        drop_quietly(self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl OpenDatabase {
    fn new(disk: &dyn Disk, file: &Arc<str>) -> Result<Self, KvError> {
        let opened = disk.open(FILE).map_err(|error| KvError::from_io(Arc::clone(file), error))?;
        let data = DataFile::new(opened);
        let failure = data.failure();
        let result = Self::with(data, &failure).map_err(|error| convert_error(file, error));
        result.map_err(|error| failure.full().map_or(error, |source| KvError::Full { source }))
    }

    /// Verifies the checksum of every page.
    fn check(&mut self, file: &Arc<str>) -> Result<(), KvError> {
        match self.database.check_integrity() {
            Ok(true) => Ok(()),
            // redb has repaired the file by dropping the unreadable pages.
            Ok(false) => Err(KvError::Corrupt { what: Arc::clone(file), source: None }),
            Err(error) => Err(convert_error(file, error)),
        }
    }

    fn with(data: DataFile, failure: &Arc<FirstFailure>) -> Result<Self, ::redb::Error> {
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(data)?;
        match database.begin_read()?.open_table(META) {
            Ok(_) => {}
            // Create all tables now, because redb cannot read a table that was never written.
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
        Ok(Self { database, failure: Arc::clone(failure) })
    }
}

/// Returns unpredictable bytes. The source is the random keys of the standard library's hash maps.
fn new_salt() -> Salt {
    let [first, second] = [(); 2].map(|()| RandomState::new().hash_one("salt").to_le_bytes());
    let mut salt = Salt::default();
    let (low, high) = salt.split_at_mut(first.len());
    low.copy_from_slice(&first);
    high.copy_from_slice(&second);
    salt
}

fn convert_error(file: &Arc<str>, error: impl Into<::redb::Error>) -> KvError {
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
