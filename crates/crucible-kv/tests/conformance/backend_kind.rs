//! The tested backends, and helpers for the cases.

use std::path::Path;

use bytes::Bytes;
use crucible_kv::{Backend, Batch, KvError};

/// Opens a store and verifies it.
type Verify = fn(&Path) -> Result<(), KvError>;

/// A tested backend.
pub(crate) struct BackendKind {
    /// Opens the backend in a directory.
    pub(crate) open: fn(&Path) -> Result<Box<dyn Backend>, KvError>,
    /// Whether a full disk returns `Full` and keeps the store usable.
    pub(crate) survives_a_full_disk: bool,
    /// Whether `compact` shrinks the files.
    pub(crate) shrinks: bool,
    /// Opens the backend and verifies all data, if the backend supports it. Without verification, a
    /// corrupt last write looks like a write that a power cut interrupted.
    pub(crate) open_verified: Option<Verify>,
}

impl BackendKind {
    pub(crate) fn redb() -> Self {
        Self {
            open: |path| Ok(Box::new(crucible_kv::RedbBackend::open(path)?)),
            survives_a_full_disk: true,
            shrinks: true,
            open_verified: Some(|path| crucible_kv::RedbBackend::open_verified(path).map(drop)),
        }
    }

    pub(crate) fn sled() -> Self {
        Self {
            open: |path| Ok(Box::new(crucible_kv::SledBackend::open(path)?)),
            survives_a_full_disk: false,
            shrinks: false,
            open_verified: None,
        }
    }

    pub(crate) fn open(&self, path: &Path) -> Box<dyn Backend> {
        (self.open)(path).unwrap()
    }
}

/// Returns a batch of keys and values. A key without a value is removed.
pub(crate) fn batch<'a>(writes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(key.to_owned(), value.to_owned()),
            None => batch.delete(key.to_owned()),
        }
    }
    batch
}

/// Returns incompressible bytes.
pub(crate) fn noise(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// Copies a directory. The copy is not locked.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
