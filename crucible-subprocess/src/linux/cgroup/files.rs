//! Reading and writing the files of a cgroup.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The most of a file that is read: the longest, `cpu.stat`, has a few hundred bytes.
const TEXT_MAX: usize = 4096;

/// Writes a value to a file that is there. A short write would be half a value.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| named(&path, &error))
}

/// A file of the kernel's counts, opened once and read as often as one likes.
#[derive(Debug)]
pub(super) struct CounterFile {
    file: File,
    path: PathBuf,
}

impl CounterFile {
    pub(super) fn open(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(named(&path, &error)),
        }
    }

    /// One that [`CounterFile::reset`] can write to.
    pub(super) fn open_to_reset(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(named(&path, &error)),
        }
    }

    /// Has the kernel begin anew with what is so now.
    pub(super) fn reset(&self) -> io::Result<()> {
        self.file.write_all_at(b"0", 0).map_err(|error| named(&self.path, &error))
    }

    /// `None` where the kernel has no such file.
    pub(super) fn open_if_there(directory: &Path, name: &str) -> io::Result<Option<Self>> {
        match Self::open(directory, name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The one number in it; `max` is the greatest.
    pub(super) fn number(&self) -> io::Result<u64> {
        self.read(|text| match text.trim() {
            "max" => Some(u64::MAX),
            digits => digits.parse().ok(),
        })
    }

    /// The number after `key` in a file of `key number` lines; `None` if there is no such key.
    pub(super) fn keyed(&self, key: &str) -> io::Result<Option<u64>> {
        self.read(|text| Some(find_key(text, key)))
    }

    fn read<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
        let mut text = [0; TEXT_MAX];
        let count = self.file.read_at(&mut text, 0).map_err(|error| named(&self.path, &error))?;
        let text = text.get(..count).unwrap_or_default();
        let parsed = std::str::from_utf8(text).ok().and_then(parse);
        parsed.ok_or_else(|| {
            let what = format!("{}: {:?}", self.path.display(), String::from_utf8_lossy(text));
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }
}

fn find_key(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}

pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(find_key(text, "oom_kill"), Some(3));
        assert_eq!(find_key(text, "oom"), None);
        assert_eq!(find_key("max 12", "max"), Some(12));
    }
}
