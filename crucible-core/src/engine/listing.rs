//! Directory listings of a sandbox.

use std::fmt;

use bytes::Bytes;

use crate::model::{SandboxPath, SandboxPathError};

/// What kind of thing a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a FIFO, a socket, a device: nothing that is read.
    Other,
}

/// An entry of a directory of a sandbox.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// Its name: any bytes but NUL and `/`.
    pub name: Bytes,
    /// What it is.
    pub kind: EntryKind,
    /// Its size, for a regular file.
    pub size_bytes: u64,
    /// Whether anyone may execute it.
    pub executable: bool,
}

impl DirEntry {
    /// A directory entry.
    #[must_use]
    pub fn new(name: Bytes, kind: EntryKind, size_bytes: u64, executable: bool) -> Self {
        Self { name, kind, size_bytes, executable }
    }

    /// The path of this entry of the directory at `directory`.
    ///
    /// # Errors
    /// The name is not UTF-8, or makes no [`SandboxPath`].
    pub fn path_in(&self, directory: &SandboxPath) -> Result<SandboxPath, SandboxPathError> {
        match std::str::from_utf8(&self.name) {
            Ok(name) => directory.join(name),
            Err(_) => Err(SandboxPathError::Component { path: self.display_name() }),
        }
    }

    /// The name as text: bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn display_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirEntry({:?}, {:?}, {} bytes)", self.display_name(), self.kind, self.size_bytes)
    }
}

/// The entries of a directory of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The entries, in no order, without `.` and `..`.
    pub entries: Vec<DirEntry>,
    /// Whether there were more than the engine lists.
    pub truncated: bool,
}

impl Listing {
    /// A listing of these entries.
    #[must_use]
    pub fn new(entries: Vec<DirEntry>, truncated: bool) -> Self {
        Self { entries, truncated }
    }
}
