//! Directory listings of a sandbox.

use std::fmt;

use bytes::Bytes;

use crate::model::{SandboxPath, SandboxPathError};

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a FIFO, a socket or a device. Crucible never reads it.
    Other,
}

/// An entry of a directory in a sandbox.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name: any bytes except NUL and `/`.
    pub name: Bytes,
    /// The type.
    pub kind: EntryKind,
    /// The size of a regular file.
    pub size_bytes: u64,
    /// Whether any execute permission bit is set.
    pub executable: bool,
}

impl DirEntry {
    /// Creates a directory entry.
    #[must_use]
    pub fn new(name: Bytes, kind: EntryKind, size_bytes: u64, executable: bool) -> Self {
        Self { name, kind, size_bytes, executable }
    }

    /// Returns the path of this entry in the directory at `directory`.
    ///
    /// # Errors
    /// Returns an error if the name is not UTF-8, or if the result is not a [`SandboxPath`].
    pub fn path_in(&self, directory: &SandboxPath) -> Result<SandboxPath, SandboxPathError> {
        match std::str::from_utf8(&self.name) {
            Ok(name) => directory.join(name),
            Err(_) => Err(SandboxPathError::Component { path: self.display_name() }),
        }
    }

    /// Returns the name as text. Bytes that are not UTF-8 become `U+FFFD`.
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

/// The entries of a directory in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The entries, in any order, without `.` and `..`.
    pub entries: Vec<DirEntry>,
    /// Whether the directory has more entries than the engine lists.
    pub truncated: bool,
}

impl Listing {
    /// Creates a listing.
    #[must_use]
    pub fn new(entries: Vec<DirEntry>, truncated: bool) -> Self {
        Self { entries, truncated }
    }
}
