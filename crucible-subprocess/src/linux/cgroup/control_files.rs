//! The files of a cgroup.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The maximum number of bytes read of one file. The longest one, `cpu.stat`, has a few hundred.
const TEXT_MAX: usize = 4096;

/// Writes a value to an existing file, whole or not at all.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| with_path(&path, &error))
}

/// A file with the kernel's counters, opened once and read many times.
#[derive(Debug)]
pub(super) struct CounterFile {
    file: File,
    path: PathBuf,
}

impl CounterFile {
    /// Opens the file for reading.
    pub(super) fn open(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(with_path(&path, &error)),
        }
    }

    /// Opens the file so that [`CounterFile::reset`] can write to it.
    pub(super) fn open_to_reset(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(with_path(&path, &error)),
        }
    }

    /// Opens the file, or returns `None` if the kernel has no such file.
    pub(super) fn open_optional(directory: &Path, name: &str) -> io::Result<Option<Self>> {
        match Self::open(directory, name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Resets the kernel's peak to the current value.
    pub(super) fn reset(&self) -> io::Result<()> {
        self.file.write_all_at(b"0", 0).map_err(|error| with_path(&self.path, &error))
    }

    /// Reads the file's only number. `max` reads as the greatest number.
    pub(super) fn number(&self) -> io::Result<u64> {
        self.read(|text| match text.trim() {
            "max" => Some(u64::MAX),
            digits => digits.parse().ok(),
        })
    }

    /// Reads the number after `key` in a file of `key number` lines, or `None` without the key.
    pub(super) fn keyed(&self, key: &str) -> io::Result<Option<u64>> {
        self.read(|text| Some(find_key(text, key)))
    }

    fn read<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
        let mut text = [0; TEXT_MAX];
        let count =
            self.file.read_at(&mut text, 0).map_err(|error| with_path(&self.path, &error))?;
        let text = text.get(..count).unwrap_or_default();
        let parsed = std::str::from_utf8(text).ok().and_then(parse);
        parsed.ok_or_else(|| {
            let what = format!("{}: {:?}", self.path.display(), String::from_utf8_lossy(text));
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }
}

/// Adds the path to an error.
pub(super) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn find_key(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_key_matches_whole_keys_only() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(find_key(text, "oom_kill"), Some(3));
        assert_eq!(find_key(text, "oom"), None);
        assert_eq!(find_key("max 12", "max"), Some(12));
    }
}
