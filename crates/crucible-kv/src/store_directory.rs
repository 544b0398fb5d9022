//! A directory with an exclusive lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{KvError, LockOwner};

/// The locked file. It stays after the lock is released: removing it could remove the file that
/// another process has locked in the meantime.
const LOCK: &str = "LOCK";

/// The file that names the kind of store in the directory.
const FORMAT: &str = "FORMAT";

/// The version of the files that this crate itself writes.
const VERSION: u32 = 1;

/// The directory of one store: created if necessary, locked until it is dropped, and
/// [marked](Self::mark) with the kind of store.
///
/// The lock is `flock(2)`. The kernel releases it when the process ends for any reason.
#[derive(Debug)]
pub struct StoreDirectory {
    path: PathBuf,
    format: StoreFormat,
    is_new: bool,
    /// Keeps the lock.
    _lock: File,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoreFormat {
    kind: String,
    version: u32,
}

impl StoreDirectory {
    /// Locks a directory for a kind of store, such as `redb`. Creates it if it does not exist.
    ///
    /// # Errors
    /// Returns [`KvError::Locked`] with the process that holds the directory,
    /// [`KvError::UnsupportedFormat`] with the kind of store in it, or an error if the directory
    /// cannot be created or written.
    pub fn take(path: impl Into<PathBuf>, kind: &str) -> Result<Self, KvError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| KvError::from_io(quoted(&path), error))?;
        let lock = lock(&path)?;
        let format = StoreFormat { kind: kind.to_owned(), version: VERSION };
        let is_new = !is_marked(&path, &format)?;
        Ok(Self { path, format, is_new, _lock: lock })
    }

    /// Returns `true` if the directory is not marked yet. A marked directory must contain the files
    /// of the store.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Marks a new directory after the files of the store were created.
    ///
    /// # Errors
    /// Returns an error if the mark cannot be written.
    pub fn mark(&self) -> Result<(), KvError> {
        if self.is_new { write_mark(&self.path, &self.format) } else { Ok(()) }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the disk space of all files in the directory and its subdirectories, in bytes.
    ///
    /// # Errors
    /// Returns an error if the size of a file cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, KvError> {
        bytes_below(&self.path).map_err(|error| KvError::from_io(quoted(&self.path), error))
    }
}

/// Returns a path in backquotes, as messages show it.
pub(crate) fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// Makes created and renamed entries of a directory survive a power cut.
fn sync_directory(path: &Path) -> Result<(), KvError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| KvError::from_io(quoted(path), error))
}

/// Locks the file `LOCK` and writes the identity of this process into it.
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
        Err(TryLockError::WouldBlock) => return Err(locked_error(directory, &mut file)),
        Err(TryLockError::Error(error)) => return Err(unavailable(error)),
    }
    let owner = serde_json::to_vec(&LockOwner::this_process())
        .map_err(|error| unavailable(error.into()))?;
    file.set_len(0).and_then(|()| file.write_all(&owner)).map_err(unavailable)?;
    Ok(file)
}

/// Returns the error that names the process in the lock file.
fn locked_error(directory: &Path, file: &mut File) -> KvError {
    let directory: Arc<str> = directory.display().to_string().into();
    let mut text = String::new();
    // Between taking the lock and writing its identity, the owner is unknown.
    let owner = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    KvError::Locked { directory, by: owner.map(Box::new) }
}

/// Returns `true` if a directory has the expected mark, and an error if it has another one.
fn is_marked(directory: &Path, supported: &StoreFormat) -> Result<bool, KvError> {
    let path = directory.join(FORMAT);
    let corrupt =
        |source| KvError::Corrupt { what: quoted(&path).into(), source: Some(Arc::new(source)) };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(KvError::from_io(quoted(&path), error)),
    };
    let found: StoreFormat = serde_json::from_slice(&text).map_err(corrupt)?;
    if found != *supported {
        return Err(KvError::UnsupportedFormat {
            directory: directory.display().to_string().into(),
            found: format!("{} {}", found.kind, found.version).into(),
            supported: format!("{} {}", supported.kind, supported.version).into(),
        });
    }
    Ok(true)
}

/// Writes the mark under another name and renames it, so that the mark is never incomplete.
fn write_mark(directory: &Path, format: &StoreFormat) -> Result<(), KvError> {
    let path = directory.join(FORMAT);
    let unavailable = |error| KvError::from_io(quoted(&path), error);
    let text = serde_json::to_vec(format).map_err(|error| unavailable(error.into()))?;
    let temporary = directory.join("FORMAT.new");
    let mut file = File::create(&temporary).map_err(unavailable)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(unavailable)?;
    fs::rename(&temporary, &path).map_err(unavailable)?;
    sync_directory(directory)
}

/// Returns the disk space of all files below a directory, in bytes.
fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += bytes_below(&entry.path())?,
            Ok(metadata) => bytes += allocated(&metadata),
            // The store may remove its own files meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    // `st_blocks` counts units of 512 bytes, independent of the file system's block size: stat(2).
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
    fn second_opener_gets_identity_of_first() {
        let scratch = tempfile::tempdir().unwrap();
        let first = StoreDirectory::take(scratch.path(), "memory").unwrap();
        let error = StoreDirectory::take(scratch.path(), "memory").unwrap_err();
        let KvError::Locked { by: Some(by), .. } = &error else { panic!("{error:?}") };
        assert_eq!(**by, LockOwner::this_process());
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        StoreDirectory::take(scratch.path(), "memory").unwrap();
    }

    #[test]
    fn locked_directory_without_identity_has_no_owner() {
        let scratch = tempfile::tempdir().unwrap();
        let file = File::create(scratch.path().join(LOCK)).unwrap();
        file.try_lock().unwrap();
        let error = StoreDirectory::take(scratch.path(), "memory").unwrap_err();
        assert!(matches!(error, KvError::Locked { by: None, .. }), "{error:?}");
    }

    #[test]
    fn other_kind_or_version_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = StoreDirectory::take(scratch.path(), "redb").unwrap();
        assert!(directory.is_new());
        directory.mark().unwrap();
        drop(directory);
        assert!(!StoreDirectory::take(scratch.path(), "redb").unwrap().is_new());
        let error = StoreDirectory::take(scratch.path(), "sled").unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::UnsupportedFormat);
        assert!(
            error.to_string().contains("`redb 1`") && error.to_string().contains("`sled 1`"),
            "{error}"
        );
        fs::write(scratch.path().join(FORMAT), r#"{"kind":"redb","version":2}"#).unwrap();
        assert_eq!(
            StoreDirectory::take(scratch.path(), "redb").unwrap_err().kind(),
            KvErrorKind::UnsupportedFormat
        );
    }

    #[test]
    fn corrupt_mark_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        for corrupt in [&b""[..], b"\xff\xff", b"{\"kind\":\"redb\""] {
            fs::write(scratch.path().join(FORMAT), corrupt).unwrap();
            let error = StoreDirectory::take(scratch.path(), "redb").unwrap_err();
            assert_eq!(error.kind(), KvErrorKind::Corrupt);
            assert!(error.to_string().contains("/FORMAT`"), "{error}");
        }
    }

    #[test]
    fn path_that_is_no_directory_is_unavailable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StoreDirectory::take(file.path(), "redb").unwrap_err();
        assert_eq!(error.kind(), KvErrorKind::Unavailable);
        assert!(error.to_string().contains(&quoted(file.path())), "{error}");
    }
}
