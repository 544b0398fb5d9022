//! The log that a commit is written to first: two files that take turns.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::blocks::{Blocks, Disk};
use super::record::{self, ALIGN, Record, Salt};
use crate::{Batch, KvError};

const NAMES: [&str; 2] = ["log.0", "log.1"];

/// How far zeros are written ahead. A flush over them is one of data alone; otherwise the file system has to write down as well
/// which blocks it has given, each time.
const AHEAD: u64 = 1024 * 1024;

/// Commits that are not in the tree yet.
#[derive(Debug)]
pub(super) struct Log {
    files: [LogFile; 2],
    /// Which of them is written.
    active: usize,
    /// How many bytes of records a file has before the other one is begun.
    most: u64,
    /// The number of the last record.
    last: u64,
    /// The number of the last record that survives a power cut.
    durable: u64,
    salt: Salt,
}

#[derive(Debug)]
struct LogFile {
    blocks: Box<dyn Blocks>,
    name: Arc<str>,
    /// Where the next record goes.
    end: u64,
    /// Up to where there are bytes.
    filled: u64,
}

/// What a log has kept for a tree.
#[derive(Debug)]
pub(super) struct Found {
    /// Everything that the tree does not have.
    pub(super) batch: Batch,
    /// The number that the tree has everything up to once it has the batch.
    pub(super) last: u64,
}

impl Log {
    /// Opens the log of a tree that has every record up to `applied`, and gives what it lacks. It is written from the beginning, so
    /// the tree must have that first.
    pub(super) fn open(
        disk: &dyn Disk,
        most: u64,
        applied: u64,
        salt: Salt,
    ) -> Result<(Self, Found), KvError> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        for name in NAMES {
            let file = LogFile::open(disk, name)?;
            records.extend(file.records(applied, &salt)?);
            files.push(file);
        }
        let Ok(files) = <[LogFile; 2]>::try_from(files) else {
            return Err(KvError::Corrupt { what: "the log".into(), source: None });
        };
        let found = follow(records, applied, &files)?;
        let log = Self { files, active: 0, most, last: found.last, durable: found.last, salt };
        Ok((log, found))
    }

    /// The number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether the other file is to be begun.
    pub(super) fn is_full(&self) -> bool {
        self.end() >= self.most
    }

    /// Where the next record goes in the active file.
    pub(super) fn end(&self) -> u64 {
        let [first, second] = &self.files;
        if self.active == 0 { first.end } else { second.end }
    }

    /// Writes a record, and gives the batch as it is in it. It has no number before it was written wholly, so that after an error for
    /// want of room the next one takes its place.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Bytes, KvError> {
        let mut record = Vec::new();
        let place = record::encode(self.last + 1, self.durable, batch, &self.salt, &mut record);
        let ahead = AHEAD.min(self.most);
        self.file().append(&record, ahead)?;
        self.last += 1;
        Ok(Bytes::from(record).slice(place))
    }

    /// Returns when every record survives a power cut.
    pub(super) fn sync(&mut self) -> Result<(), KvError> {
        if self.durable < self.last {
            let file = self.file();
            file.blocks.sync().map_err(|error| file.lost(error))?;
            self.durable = self.last;
        }
        Ok(())
    }

    /// Begins the other file, which holds nothing any more that the tree does not have.
    pub(super) fn switch(&mut self) -> Result<(), KvError> {
        // From here on it is not flushed any more.
        self.sync()?;
        self.active = 1 - self.active;
        self.file().end = 0;
        Ok(())
    }

    /// Gives the space of both files back at the end: the tree has everything.
    pub(super) fn empty(&mut self) -> Result<(), KvError> {
        for file in &mut self.files {
            file.blocks.set_len(0).map_err(|error| file.lost(error))?;
            (file.end, file.filled) = (0, 0);
        }
        Ok(())
    }

    fn file(&mut self) -> &mut LogFile {
        let [first, second] = &mut self.files;
        if self.active == 0 { first } else { second }
    }
}

impl LogFile {
    fn open(disk: &dyn Disk, name: &str) -> Result<Self, KvError> {
        let quoted: Arc<str> = disk.name(name).into();
        let blocks =
            disk.open(name).map_err(|error| KvError::from_io(Arc::clone(&quoted), error))?;
        let filled = blocks.len().map_err(|error| KvError::from_io(Arc::clone(&quoted), error))?;
        Ok(Self { blocks, name: quoted, end: 0, filled })
    }

    /// Every whole record after `applied`, wherever it is. Those up to there are left from an earlier turn.
    fn records(&self, applied: u64, salt: &Salt) -> Result<Vec<Record>, KvError> {
        let failed = |error| KvError::from_io(Arc::clone(&self.name), error);
        let length =
            usize::try_from(self.filled).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        self.blocks.read(0, &mut bytes).map_err(failed)?;
        let (mut records, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let length = match record::decode(rest, salt) {
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
        let end = self.end + record.len() as u64;
        if end > self.filled {
            let zeros = vec![0; usize::try_from(end - self.filled + ahead).unwrap_or_default()];
            self.blocks.write(self.filled, &zeros).map_err(|error| self.failed(error))?;
            self.filled += zeros.len() as u64;
        }
        self.blocks.write(self.end, record).map_err(|error| self.failed(error))?;
        self.end = end;
        Ok(())
    }

    /// Nothing was written, if there was no room.
    fn failed(&self, error: io::Error) -> KvError {
        KvError::from_io(Arc::clone(&self.name), error)
    }

    /// What was written may be lost, also if it was for want of room.
    fn lost(&self, error: io::Error) -> KvError {
        KvError::Unavailable { what: Arc::clone(&self.name), source: Arc::new(error) }
    }
}

/// Puts the records behind one another. What comes after a gap was never acknowledged as durable, unless a record says that what is
/// missing was.
fn follow(mut records: Vec<Record>, applied: u64, files: &[LogFile; 2]) -> Result<Found, KvError> {
    records.sort_by_key(|record| record.number);
    let (mut batch, mut next, mut last) = (Batch::new(), applied + 1, applied);
    let mut is_gap = false;
    for record in records {
        // Their numbers are not given again, so that nobody takes them for something later.
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
    Ok(Found { batch, last })
}
