//! The write-ahead log: two files that alternate.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::wal_record::{self, ALIGN, Salt, WalRecord};
use crate::{Batch, KvError};

const NAMES: [&str; 2] = ["log.0", "log.1"];

/// The number of zero bytes that are written ahead of the records.
///
/// A flush of overwritten zeros only writes data. Otherwise the file system would also have to
/// write the block allocation on every flush.
const PREALLOCATED: u64 = 1024 * 1024;

/// The commits that the tree does not contain yet.
#[derive(Debug)]
pub(super) struct Wal {
    files: [WalFile; 2],
    /// The index of the file that receives records.
    active: usize,
    /// The size at which a file is full, in bytes.
    limit: u64,
    /// The number of the last record.
    last: u64,
    /// The number of the last record that survives a power cut.
    durable: u64,
    salt: Salt,
}

#[derive(Debug)]
struct WalFile {
    file: Box<dyn DiskFile>,
    name: Arc<str>,
    /// The offset of the next record.
    end: u64,
    /// The length of the file.
    filled: u64,
}

/// The records that a log contains and its tree does not.
#[derive(Debug)]
pub(super) struct WalReplay {
    /// The merged writes of these records.
    pub(super) batch: Batch,
    /// The highest record number in the log.
    pub(super) last: u64,
}

impl Wal {
    /// Opens the log of a tree that contains all records up to `applied`, and returns the missing
    /// records. New records overwrite the log from its beginning, so the caller must apply the
    /// missing records first.
    pub(super) fn open(
        disk: &dyn Disk,
        limit: u64,
        applied: u64,
        salt: Salt,
    ) -> Result<(Self, WalReplay), KvError> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        for name in NAMES {
            let file = WalFile::open(disk, name)?;
            records.extend(file.records(applied, &salt)?);
            files.push(file);
        }
        let Ok(files) = <[WalFile; 2]>::try_from(files) else {
            return Err(KvError::Corrupt { what: "the log".into(), source: None });
        };
        let replay = WalReplay::of(records, applied, &files)?;
        let wal = Self { files, active: 0, limit, last: replay.last, durable: replay.last, salt };
        Ok((wal, replay))
    }

    /// Returns the number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns `true` if the active file has reached its limit.
    pub(super) fn is_full(&self) -> bool {
        self.end() >= self.limit
    }

    /// Returns the offset of the next record in the active file.
    pub(super) fn end(&self) -> u64 {
        let [first, second] = &self.files;
        if self.active == 0 { first.end } else { second.end }
    }

    /// Appends a record, and returns the encoded batch in it. The record gets its number only after
    /// the write is complete. If the disk is full, the next record overwrites the incomplete one.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Bytes, KvError> {
        let mut record = Vec::new();
        let encoded =
            wal_record::encode(self.last + 1, self.durable, batch, &self.salt, &mut record);
        let ahead = PREALLOCATED.min(self.limit);
        self.active_file().append(&record, ahead)?;
        self.last += 1;
        Ok(Bytes::from(record).slice(encoded))
    }

    /// Makes all records survive a power cut.
    pub(super) fn sync(&mut self) -> Result<(), KvError> {
        if self.durable < self.last {
            let file = self.active_file();
            file.file.sync().map_err(|error| file.unavailable(error))?;
            self.durable = self.last;
        }
        Ok(())
    }

    /// Makes the other file active. The tree must contain all of its records.
    pub(super) fn switch(&mut self) -> Result<(), KvError> {
        // `sync` only flushes the active file.
        self.sync()?;
        self.active = 1 - self.active;
        self.active_file().end = 0;
        Ok(())
    }

    /// Truncates both files. The tree must contain all records.
    pub(super) fn empty(&mut self) -> Result<(), KvError> {
        for file in &mut self.files {
            file.file.set_len(0).map_err(|error| file.unavailable(error))?;
            (file.end, file.filled) = (0, 0);
        }
        Ok(())
    }

    fn active_file(&mut self) -> &mut WalFile {
        let [first, second] = &mut self.files;
        if self.active == 0 { first } else { second }
    }
}

impl WalFile {
    fn open(disk: &dyn Disk, name: &str) -> Result<Self, KvError> {
        let quoted: Arc<str> = disk.name(name).into();
        let file = disk.open(name).map_err(|error| KvError::from_io(Arc::clone(&quoted), error))?;
        let filled = file.len().map_err(|error| KvError::from_io(Arc::clone(&quoted), error))?;
        Ok(Self { file, name: quoted, end: 0, filled })
    }

    /// Returns all complete records after `applied`. Older records are remains of an earlier use of
    /// the file.
    fn records(&self, applied: u64, salt: &Salt) -> Result<Vec<WalRecord>, KvError> {
        let failed = |error| KvError::from_io(Arc::clone(&self.name), error);
        let length =
            usize::try_from(self.filled).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        self.file.read(0, &mut bytes).map_err(failed)?;
        let (mut records, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let length = match wal_record::decode(rest, salt) {
                Some((record, length)) => {
                    records.extend((record.number > applied).then_some(record));
                    length
                }
                None => ALIGN,
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(records)
    }

    fn append(&mut self, record: &[u8], ahead: u64) -> Result<(), KvError> {
        // If a write fails because the disk is full, nothing of the record counts as written.
        let failed = |name: &Arc<str>, error| KvError::from_io(Arc::clone(name), error);
        let end = self.end + record.len() as u64;
        if end > self.filled {
            let zeros = vec![0; usize::try_from(end - self.filled + ahead).unwrap_or_default()];
            self.file.write(self.filled, &zeros).map_err(|error| failed(&self.name, error))?;
            self.filled += zeros.len() as u64;
        }
        self.file.write(self.end, record).map_err(|error| failed(&self.name, error))?;
        self.end = end;
        Ok(())
    }

    /// Returns the error for a failed flush or truncation. Written records may be lost, so a full
    /// disk is not reported as [`KvError::Full`].
    fn unavailable(&self, error: io::Error) -> KvError {
        KvError::Unavailable { what: Arc::clone(&self.name), source: Arc::new(error) }
    }
}

impl WalReplay {
    /// Merges consecutive records after `applied`. Records after a gap were never acknowledged as
    /// durable. The exception is an error: a later record proves that the missing record was
    /// durable.
    fn of(
        mut records: Vec<WalRecord>,
        applied: u64,
        files: &[WalFile; 2],
    ) -> Result<Self, KvError> {
        records.sort_by_key(|record| record.number);
        let (mut batch, mut next, mut last) = (Batch::new(), applied + 1, applied);
        let mut is_gap = false;
        for record in records {
            // Numbers after a gap are not reused, so that no later opening mistakes these records
            // for newer ones.
            last = record.number;
            is_gap |= record.number != next;
            if is_gap && record.durable >= next {
                let [first, second] = files;
                let what = format!("record {next} in {} or {}", first.name, second.name);
                return Err(KvError::Corrupt { what: what.into(), source: None });
            }
            if !is_gap {
                batch.merge(record.batch);
                next += 1;
            }
        }
        Ok(Self { batch, last })
    }
}
