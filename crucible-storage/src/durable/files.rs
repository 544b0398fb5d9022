//! Files that are named by the hash of what they have.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crucible_core::Digest;

/// Where files are written before they have their name.
const UNNAMED: &str = "tmp";

/// Files in a directory, named by the hash of what they have: `ab/cdef…`.
///
/// INVARIANT: a file has its name only once all of it is written, and, where a power cut is to be survived, once the device
/// has it. Whoever puts a hash into the map has made the file before, and *uses* it from before it looked whether there is one
/// until the map has the hash. A file is removed only while nobody uses it and the map does not have it, so none is ever
/// missed, wherever the process dies; one too many is removed later.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// Whether files and names must survive a power cut.
    survives_power: bool,
    uses: Mutex<HashMap<Digest, Uses>>,
    /// Tells files that have no name yet apart.
    next: AtomicU64,
}

/// Why a file is needed that the map may not have yet.
#[derive(Debug, Default)]
struct Uses {
    /// How often it was kept by somebody who has not named it yet.
    kept: u64,
    /// How many are writing it, and what names it.
    writing: u64,
}

impl Files {
    /// The files of a directory, which is made if it is not there. What has no name yet is of nobody any more.
    pub(super) fn open(directory: PathBuf, survives_power: bool) -> io::Result<Self> {
        let files =
            Self { directory, survives_power, uses: Mutex::default(), next: AtomicU64::new(0) };
        fs::create_dir_all(files.directory.join(UNNAMED))?;
        for byte in 0..=u8::MAX {
            match fs::create_dir(files.directory.join(format!("{byte:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        for left in fs::read_dir(files.directory.join(UNNAMED))? {
            fs::remove_file(left?.path())?;
        }
        files.sync_directory(&files.directory)?;
        if let Some(parent) = files.directory.parent() {
            files.sync_directory(parent)?;
        }
        Ok(files)
    }

    /// Says that somebody is about to write a file and its name. Whoever does ends with [`Self::write_ended`].
    pub(super) fn write_begins(&self, digest: Digest) {
        self.lock().entry(digest).or_default().writing += 1;
    }

    /// Says that whoever was to write a file and its name has done so, or given up.
    pub(super) fn write_ended(&self, digest: Digest) {
        self.less(digest, |uses| uses.writing = uses.writing.saturating_sub(1));
    }

    /// Says that somebody keeps a file to name it later.
    pub(super) fn keep(&self, digest: Digest) {
        self.lock().entry(digest).or_default().kept += 1;
    }

    /// Says that a file has been named: whoever kept it for that has done so.
    pub(super) fn named(&self, digest: Digest) {
        self.less(digest, |uses| uses.kept = uses.kept.saturating_sub(1));
    }

    fn less(&self, digest: Digest, less: impl FnOnce(&mut Uses)) {
        let mut all = self.lock();
        let Some(uses) = all.get_mut(&digest) else { return };
        less(uses);
        if uses.kept == 0 && uses.writing == 0 {
            all.remove(&digest);
        }
    }

    /// Writes a file, unless there is a sound one. Whoever calls this uses it.
    pub(super) fn write(&self, digest: Digest, content: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) if has(&file, content)? => {
                // Whoever wrote it may not have come to this, or may have had no reason to.
                if self.survives_power {
                    file.sync_all()?;
                }
            }
            // A damaged one is replaced.
            Ok(_) => self.replace(&path, content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.replace(&path, content)?
            }
            Err(error) => return Err(error),
        }
        path.parent().map_or(Ok(()), |parent| self.sync_directory(parent))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unnamed = self.directory.join(UNNAMED).join(number.to_string());
        let written = self.write_new(&unnamed, content).and_then(|()| fs::rename(&unnamed, path));
        if written.is_err() {
            // What cannot be removed either is removed when the storage is opened again.
            let _left = fs::remove_file(&unnamed);
        }
        written
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(content)?;
        if self.survives_power { file.sync_all() } else { Ok(()) }
    }

    /// What a file has, whether that is what its name says or not; `None` if there is no such file.
    pub(super) fn read(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(digest)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file that nobody uses, unless `is_named` says that the map has it. Says whether a file was removed.
    pub(super) fn discard<E: From<io::Error>>(
        &self,
        digest: Digest,
        is_named: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        // Whoever wants to use it meanwhile waits, and then finds that there is none.
        let uses = self.lock();
        if uses.contains_key(&digest) || is_named()? {
            return Ok(false);
        }
        match fs::remove_file(self.path(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The hashes that files of one of the 256 directories have as their names. Other files are none of ours.
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

    /// Makes the names in a directory survive a power cut, if they must.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        if !self.survives_power {
            return Ok(());
        }
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Uses>> {
        // A plain map: a panic elsewhere finds it whole.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file has exactly these bytes.
fn has(mut file: &File, content: &[u8]) -> io::Result<bool> {
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

    fn files() -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path().join("blobs"), true).unwrap();
        (directory, files)
    }

    fn not_named() -> io::Result<bool> {
        Ok(false)
    }

    #[test]
    fn a_file_comes_back_by_its_hash_and_is_found_in_its_directory() {
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
    fn a_damaged_file_is_replaced_by_who_writes_it_again() {
        let (_directory, files) = files();
        let digest = Digest::of(b"abc");
        for damaged in [&b"abd"[..], b"ab", b""] {
            fs::write(files.path(digest), damaged).unwrap();
            files.write(digest, b"abc").unwrap();
            assert_eq!(files.read(digest).unwrap().unwrap(), b"abc");
        }
    }

    #[test]
    fn what_is_used_or_named_is_not_discarded() {
        let (_directory, files) = files();
        let digest = Digest::of(b"abc");
        files.write(digest, b"abc").unwrap();
        files.keep(digest);
        files.write_begins(digest);
        assert!(!files.discard(digest, not_named).unwrap());
        files.write_ended(digest);
        assert!(!files.discard(digest, not_named).unwrap());
        files.named(digest);
        assert!(!files.discard(digest, || io::Result::Ok(true)).unwrap());
        assert!(files.discard(digest, not_named).unwrap());
        assert!(!files.discard(digest, not_named).unwrap(), "there is none any more");
        assert_eq!(files.read(digest).unwrap(), None);
    }

    #[test]
    fn what_has_no_name_is_gone_when_it_is_opened_again() {
        let (directory, files) = files();
        let digest = Digest::of(b"abc");
        files.write(digest, b"abc").unwrap();
        let left = files.directory.join(UNNAMED).join("17");
        fs::write(&left, b"half").unwrap();
        drop(files);
        let files = Files::open(directory.path().join("blobs"), false).unwrap();
        assert!(!left.exists());
        assert_eq!(files.read(digest).unwrap().unwrap(), b"abc");
    }
}
