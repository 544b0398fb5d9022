//! Random-access files, behind traits so that tests can simulate power cuts.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A set of named files.
pub(super) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file. Creates it if it does not exist.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Returns the display name of a file for messages.
    fn name(&self, name: &str) -> String;
}

/// A random-access file.
pub(super) trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Returns the length of the file, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` with the bytes at `offset`.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Truncates or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes all writes survive a power cut.
    fn sync(&self) -> io::Result<()>;
}

/// The files of a directory.
#[derive(Debug)]
pub(super) struct OsDisk(pub(super) PathBuf);

impl Disk for OsDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        Ok(Box::new(options.open(self.0.join(name))?))
    }

    fn name(&self, name: &str) -> String {
        crate::store_directory::quoted(Path::new(&self.0.join(name)))
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        os::read(self, offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        os::write(self, offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
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
