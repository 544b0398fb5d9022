//! Files named by the digest of their content.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crucible_core::Digest;

/// The subdirectory of incomplete files.
const TEMPORARY: &str = "tmp";

/// Files in a directory, named by the digest of their content: `ab/cdef…`.
///
/// INVARIANT: every file that the store refers to exists, whenever the process dies. A writer
/// registers a use and writes the file under a temporary name. It flushes the file if it must
/// survive a power cut, and renames it. Only then it writes the reference to the store. A file is
/// removed only without a use and without a reference. Unreferenced files that a crash leaves are
/// removed at the next opening.
#[derive(Debug)]
pub(super) struct BlobFiles {
    directory: PathBuf,
    /// Whether files and their names must survive a power cut.
    survives_power: bool,
    uses: Mutex<HashMap<Digest, BlobUses>>,
    /// The next number of a temporary file.
    next_temporary: AtomicU64,
}

/// The uses of a file that the store may not refer to yet.
#[derive(Debug, Default)]
struct BlobUses {
    /// The number of `put_blob` calls without a later reference.
    pins: u64,
    /// The number of running writes of the file and its reference.
    writes: u64,
}

impl BlobFiles {
    /// Opens a directory, or creates it. Removes the temporary files of an earlier process.
    pub(super) fn open(directory: PathBuf, survives_power: bool) -> io::Result<Self> {
        let files = Self {
            directory,
            survives_power,
            uses: Mutex::default(),
            next_temporary: AtomicU64::new(0),
        };
        fs::create_dir_all(files.directory.join(TEMPORARY))?;
        for byte in 0..=u8::MAX {
            match fs::create_dir(files.directory.join(format!("{byte:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        for temporary in fs::read_dir(files.directory.join(TEMPORARY))? {
            fs::remove_file(temporary?.path())?;
        }
        files.sync_directory(&files.directory)?;
        if let Some(parent) = files.directory.parent() {
            files.sync_directory(parent)?;
        }
        Ok(files)
    }

    /// Registers a write of a file and its reference, until [`Self::end_write`].
    pub(super) fn begin_write(&self, digest: Digest) {
        self.lock().entry(digest).or_default().writes += 1;
    }

    /// Ends a registered write, successful or not.
    pub(super) fn end_write(&self, digest: Digest) {
        self.release(digest, |uses| uses.writes = uses.writes.saturating_sub(1));
    }

    /// Keeps a file for a caller that will refer to it.
    pub(super) fn pin(&self, digest: Digest) {
        self.lock().entry(digest).or_default().pins += 1;
    }

    /// Removes a pin, because the store refers to the file now or the caller has failed.
    pub(super) fn unpin(&self, digest: Digest) {
        self.release(digest, |uses| uses.pins = uses.pins.saturating_sub(1));
    }

    fn release(&self, digest: Digest, release: impl FnOnce(&mut BlobUses)) {
        let mut all = self.lock();
        let Some(uses) = all.get_mut(&digest) else { return };
        release(uses);
        if uses.pins == 0 && uses.writes == 0 {
            all.remove(&digest);
        }
    }

    /// Writes a file, unless an intact one exists. The caller must have registered a use.
    pub(super) fn write(&self, digest: Digest, content: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) if has_content(&file, content)? => {
                // The earlier writer may have ended before its flush, or had no need for one.
                if self.survives_power {
                    file.sync_all()?;
                }
            }
            // Replace a corrupt file.
            Ok(_) => self.replace(&path, content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.replace(&path, content)?
            }
            Err(error) => return Err(error),
        }
        path.parent().map_or(Ok(()), |parent| self.sync_directory(parent))
    }

    /// Writes a temporary file and renames it.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(TEMPORARY).join(number.to_string());
        let written =
            self.write_new(&temporary, content).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // If the removal fails as well, the next opening removes the file.
            let _removed = fs::remove_file(&temporary);
        }
        written
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(content)?;
        if self.survives_power { file.sync_all() } else { Ok(()) }
    }

    /// Returns the content of a file without verifying it; `None` if the file does not exist.
    pub(super) fn read(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(digest)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file without uses, unless `is_referenced` returns `true`. Returns `true` if a file
    /// was removed.
    pub(super) fn remove_unused<E: From<io::Error>>(
        &self,
        digest: Digest,
        is_referenced: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        // Hold the lock, so that a new use waits and then finds no file.
        let uses = self.lock();
        if uses.contains_key(&digest) || is_referenced()? {
            return Ok(false);
        }
        match fs::remove_file(self.path(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the digests of the files in one of the 256 subdirectories. Ignores other files.
    pub(super) fn list(&self, first_byte: u8) -> io::Result<Vec<Digest>> {
        let prefix = format!("{first_byte:02x}");
        let mut digests = Vec::new();
        for entry in fs::read_dir(self.directory.join(&prefix))? {
            let name = entry?.file_name();
            digests.extend(
                name.to_str().and_then(|rest| format!("{prefix}{rest}").parse::<Digest>().ok()),
            );
        }
        Ok(digests)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        let (first, rest) = name.split_at(2);
        self.directory.join(first).join(rest)
    }

    /// Makes the names in a directory survive a power cut, if required.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        if !self.survives_power {
            return Ok(());
        }
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, BlobUses>> {
        // No code under the lock can panic half-way, so a poisoned lock is usable.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns `true` if a file has exactly these bytes.
fn has_content(mut file: &File, content: &[u8]) -> io::Result<bool> {
    if file.metadata()?.len() != content.len() as u64 {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(content.len());
    file.read_to_end(&mut found)?;
    Ok(found == content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, BlobFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = BlobFiles::open(directory.path().join("blobs"), true).unwrap();
        (directory, files)
    }

    fn unreferenced() -> io::Result<bool> {
        Ok(false)
    }

    #[test]
    fn file_is_read_and_listed_by_digest() {
        let (_directory, files) = files();
        let digest = Digest::of(b"abc");
        assert_eq!(files.read(digest).unwrap(), None);
        files.write(digest, b"abc").unwrap();
        files.write(digest, b"abc").unwrap();
        assert_eq!(files.read(digest).unwrap().unwrap(), b"abc");
        assert_eq!(files.list(0xba).unwrap(), [digest]);
        assert!(files.list(0xbb).unwrap().is_empty());
    }

    #[test]
    fn write_replaces_corrupt_file() {
        let (_directory, files) = files();
        let digest = Digest::of(b"abc");
        for corrupt in [&b"abd"[..], b"ab", b""] {
            fs::write(files.path(digest), corrupt).unwrap();
            files.write(digest, b"abc").unwrap();
            assert_eq!(files.read(digest).unwrap().unwrap(), b"abc");
        }
    }

    #[test]
    fn used_or_referenced_file_is_not_removed() {
        let (_directory, files) = files();
        let digest = Digest::of(b"abc");
        files.write(digest, b"abc").unwrap();
        files.pin(digest);
        files.begin_write(digest);
        assert!(!files.remove_unused(digest, unreferenced).unwrap());
        files.end_write(digest);
        assert!(!files.remove_unused(digest, unreferenced).unwrap());
        files.unpin(digest);
        assert!(!files.remove_unused(digest, || io::Result::Ok(true)).unwrap());
        assert!(files.remove_unused(digest, unreferenced).unwrap());
        assert!(!files.remove_unused(digest, unreferenced).unwrap(), "the file is gone");
        assert_eq!(files.read(digest).unwrap(), None);
    }

    #[test]
    fn open_removes_temporary_files() {
        let (directory, files) = files();
        let digest = Digest::of(b"abc");
        files.write(digest, b"abc").unwrap();
        let temporary = files.directory.join(TEMPORARY).join("17");
        fs::write(&temporary, b"half").unwrap();
        drop(files);
        let files = BlobFiles::open(directory.path().join("blobs"), false).unwrap();
        assert!(!temporary.exists());
        assert_eq!(files.read(digest).unwrap().unwrap(), b"abc");
    }
}
