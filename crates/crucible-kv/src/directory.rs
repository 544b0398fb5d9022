//! A directory that one process has.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{KvError, Owner};

/// The file that is locked. It stays when the lock is given back: who removed it could remove another's.
const LOCK: &str = "LOCK";

/// The file that says which kind of store is in the directory.
const FORMAT: &str = "FORMAT";

/// The format of everything that this crate itself puts into a directory.
const VERSION: u32 = 1;

/// A directory for one store: made if need be, locked against other openers until it is dropped, and [marked](Self::mark) with
/// the kind of store that is in it.
///
/// The lock is `flock(2)`, which the kernel takes back from a process that ends in whatever way.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    format: Format,
    is_new: bool,
    /// Held for the sake of its lock.
    _lock: File,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    kind: String,
    version: u32,
}

impl Directory {
    /// Takes a directory for a kind of store, such as `redb`.
    ///
    /// # Errors
    /// [`KvError::Locked`] says who has it, [`KvError::TooNew`] which other kind or version is in it; or it cannot be made or
    /// written.
    pub fn take(path: impl Into<PathBuf>, kind: &str) -> Result<Self, KvError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| KvError::from_io(quoted(&path), error))?;
        let lock = lock(&path)?;
        let format = Format { kind: kind.to_owned(), version: VERSION };
        let is_new = !is_marked(&path, &format)?;
        Ok(Self { path, format, is_new, _lock: lock })
    }

    /// Whether nobody has marked it yet. In one that is marked the store's files must be there.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Writes down, in a new directory, that the store's files were made.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn mark(&self) -> Result<(), KvError> {
        if self.is_new { write_mark(&self.path, &self.format) } else { Ok(()) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes its files take on disk, those of directories within included.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub fn disk_bytes(&self) -> Result<u64, KvError> {
        bytes_below(&self.path).map_err(|error| KvError::from_io(quoted(&self.path), error))
    }
}

/// A path as it is in messages.
pub(crate) fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// Makes what was created or renamed in a directory survive a power cut.
fn sync_directory(path: &Path) -> Result<(), KvError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| KvError::from_io(quoted(path), error))
}

fn lock(directory: &Path) -> Result<File, KvError> {
    let path = directory.join(LOCK);
    let unavailable = |error| KvError::from_io(quoted(&path), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(directory, &mut file)),
        Err(TryLockError::Error(error)) => return Err(unavailable(error)),
    }
    let owner =
        serde_json::to_vec(&Owner::this_process()).map_err(|error| unavailable(error.into()))?;
    file.set_len(0).and_then(|()| file.write_all(&owner)).map_err(unavailable)?;
    Ok(file)
}

fn locked(directory: &Path, file: &mut File) -> KvError {
    let directory: Arc<str> = directory.display().to_string().into();
    let mut text = String::new();
    // Between taking the lock and writing into it nobody knows whose it is; that somebody has it is certain.
    let owner = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    KvError::Locked { directory, by: owner.map(Box::new) }
}

/// Whether a directory is marked as what it is to be; it is an error if it is marked as anything else.
fn is_marked(directory: &Path, supported: &Format) -> Result<bool, KvError> {
    let path = directory.join(FORMAT);
    let damaged =
        |source| KvError::Corrupt { what: quoted(&path).into(), source: Some(Arc::new(source)) };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(KvError::from_io(quoted(&path), error)),
    };
    let found: Format = serde_json::from_slice(&text).map_err(damaged)?;
    if found != *supported {
        return Err(KvError::TooNew {
            directory: directory.display().to_string().into(),
            found: format!("{} {}", found.kind, found.version).into(),
            supported: format!("{} {}", supported.kind, supported.version).into(),
        });
    }
    Ok(true)
}

/// The mark is there wholly or not at all, since it is renamed into its place.
fn write_mark(directory: &Path, format: &Format) -> Result<(), KvError> {
    let path = directory.join(FORMAT);
    let unavailable = |error| KvError::from_io(quoted(&path), error);
    let text = serde_json::to_vec(format).map_err(|error| unavailable(error.into()))?;
    let temporary = directory.join("FORMAT.new");
    let mut file = File::create(&temporary).map_err(unavailable)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(unavailable)?;
    fs::rename(&temporary, &path).map_err(unavailable)?;
    sync_directory(directory)
}

fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += bytes_below(&entry.path())?,
            Ok(metadata) => bytes += allocated(&metadata),
            // A store removes its own files meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    // stat(2) counts in blocks of 512 bytes, whatever the file system's own.
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KvErrorKind;

    #[test]
    fn a_second_opener_is_told_who_was_first() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Directory::take(scratch.path(), "memory").unwrap();
        let error = Directory::take(scratch.path(), "memory").unwrap_err();
        let KvError::Locked { by: Some(by), .. } = &error else { panic!("{error:?}") };
        assert_eq!(**by, Owner::this_process());
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Directory::take(scratch.path(), "memory").unwrap();
    }

    #[test]
    fn who_has_the_lock_may_not_have_said_so_yet() {
        let scratch = tempfile::tempdir().unwrap();
        let file = File::create(scratch.path().join(LOCK)).unwrap();
        file.try_lock().unwrap();
        let error = Directory::take(scratch.path(), "memory").unwrap_err();
        assert!(matches!(error, KvError::Locked { by: None, .. }), "{error:?}");
    }

    #[test]
    fn another_kind_or_version_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::take(scratch.path(), "redb").unwrap();
        assert!(directory.is_new());
        directory.mark().unwrap();
        drop(directory);
        assert!(!Directory::take(scratch.path(), "redb").unwrap().is_new());
        let error = Directory::take(scratch.path(), "sled").unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::TooNew);
        assert!(
            error.to_string().contains("`redb 1`") && error.to_string().contains("`sled 1`"),
            "{error}"
        );
        fs::write(scratch.path().join(FORMAT), r#"{"kind":"redb","version":2}"#).unwrap();
        assert_eq!(
            Directory::take(scratch.path(), "redb").unwrap_err().kind(),
            KvErrorKind::TooNew
        );
    }

    #[test]
    fn a_damaged_mark_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        for damaged in [&b""[..], b"\xff\xff", b"{\"kind\":\"redb\""] {
            fs::write(scratch.path().join(FORMAT), damaged).unwrap();
            let error = Directory::take(scratch.path(), "redb").unwrap_err();
            assert_eq!(error.kind(), KvErrorKind::Corrupt);
            assert!(error.to_string().contains("/FORMAT`"), "{error}");
        }
    }

    #[test]
    fn what_is_no_directory_is_not_available() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Directory::take(file.path(), "redb").unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::Unavailable);
        assert!(error.to_string().contains(&quoted(file.path())), "{error}");
    }
}
