//! The file below redb, which says what redb does not: what exactly went wrong first.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::redb::StorageBackend;

use crate::SharedError;

/// How far zeros are written ahead: seconds of work, milliseconds of writing.
const AHEAD: u64 = 4 * 1024 * 1024;

/// A file of redb's. Nobody else opens it: its directory is locked.
#[derive(Debug)]
pub(super) struct DataFile {
    file: File,
    trouble: Arc<Trouble>,
    /// Up to where bytes may have been written, or zeros ahead of them. Beyond it the file has holes.
    filled: AtomicU64,
}

/// The first thing that went wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Cause>>);

#[derive(Debug)]
enum Cause {
    /// There was no room for what was to be written.
    Full(Arc<io::Error>),
    /// Anything else. After a failed flush in particular, nobody knows what is on the disk.
    Else,
}

impl Trouble {
    /// That there was no room, if that is what went wrong first.
    pub(super) fn full(&self) -> Option<SharedError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Cause::Full(error)) => Some(Arc::<io::Error>::clone(error)),
            Some(Cause::Else) | None => None,
        }
    }

    fn note(&self, cause: impl FnOnce() -> Cause) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(cause);
    }

    fn note_write(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if !matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            return self.note_else(error);
        }
        let again = io::Error::from(error.kind());
        self.note(|| Cause::Full(Arc::new(error)));
        again
    }

    fn note_else(&self, error: io::Error) -> io::Error {
        self.note(|| Cause::Else);
        error
    }
}

impl DataFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // redb makes its file longer than what it has written, so that nothing of it is beyond this.
        let filled = AtomicU64::new(file.metadata()?.len());
        Ok(Self { file, trouble: Arc::default(), filled })
    }

    /// Writes zeros before what is going to be written at the end. A flush is then one of data alone; otherwise the file system
    /// has to write down as well which blocks it has given, each time.
    ///
    /// redb calls it within a commit, and nobody commits beside that.
    fn fill(&self, end: u64) {
        let filled = self.filled.load(Ordering::Relaxed);
        if end <= filled {
            return;
        }
        let length = self.file.metadata().map_or(end, |metadata| metadata.len());
        let to = (end + AHEAD).min(length.max(end));
        let zeros = usize::try_from(to - filled).map(|count| vec![0; count]);
        // Without room for zeros there may still be some for what counts.
        if let Ok(zeros) = zeros
            && os::write(&self.file, filled, &zeros).is_ok()
        {
            self.filled.store(to, Ordering::Relaxed);
        } else {
            self.filled.store(end, Ordering::Relaxed);
        }
    }

    pub(super) fn trouble(&self) -> Arc<Trouble> {
        Arc::clone(&self.trouble)
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| self.trouble.note_else(error))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        os::read(&self.file, offset, out).map_err(|error| self.trouble.note_else(error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.filled.fetch_min(len, Ordering::Relaxed);
        self.file.set_len(len).map_err(|error| self.trouble.note_write(error))
    }

    fn sync_data(&self) -> io::Result<()> {
        // A file system that finds out only now that there is no room has lost what it took: that is not `Full`.
        self.file.sync_data().map_err(|error| self.trouble.note_else(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fill(offset + data.len() as u64);
        os::write(&self.file, offset, data).map_err(|error| self.trouble.note_write(error))
    }
}

#[cfg(unix)]
mod os {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt as _;

    pub(super) fn read(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        file.read_exact_at(out, offset)
    }

    pub(super) fn write(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        file.write_all_at(data, offset)
    }
}

#[cfg(windows)]
mod os {
    use std::fs::File;
    use std::io::{self, ErrorKind};
    use std::os::windows::fs::FileExt as _;

    pub(super) fn read(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match file.seek_read(out, offset)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => (offset, out) = (offset + n as u64, out.get_mut(n..).unwrap_or_default()),
            }
        }
        Ok(())
    }

    pub(super) fn write(file: &File, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match file.seek_write(data, offset)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => (offset, data) = (offset + n as u64, data.get(n..).unwrap_or_default()),
            }
        }
        Ok(())
    }
}
