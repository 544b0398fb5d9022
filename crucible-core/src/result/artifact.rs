//! Files that a run leaves for the host.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, SandboxPath};

/// A file collected from a sandbox after its program had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Where it was, beneath the working directory.
    pub path: SandboxPath,
    /// Its size.
    pub size_bytes: u64,
    /// The hash of its bytes; also its name in the storage's blobs.
    pub sha256: Digest,
    /// Whether anyone may execute it.
    pub executable: bool,
    /// Its bytes, where this outcome still carries them; else they are a blob of the storage.
    #[serde(skip)]
    pub content: Option<Bytes>,
}

impl Artifact {
    /// An artifact that carries its bytes.
    #[must_use]
    pub fn new(path: SandboxPath, content: Bytes, executable: bool) -> Self {
        Self {
            path,
            size_bytes: content.len() as u64,
            sha256: Digest::of(&content),
            executable,
            content: Some(content),
        }
    }
}

/// Why a file that a pattern matched was not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// It is a symbolic link, a FIFO, a socket or a device.
    NotRegular,
    /// Its name is not UTF-8, or too long.
    BadName,
    /// It alone, or all together, would be over the byte limit of the collection.
    TooLarge,
    /// The collection has as many files as it may.
    TooMany,
    /// It is deeper than the collection goes.
    TooDeep,
    /// It could not be read.
    Unreadable,
    /// It was read, and the storage did not take it.
    NotStored,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRegular => "not a regular file",
            Self::BadName => "its name is not UTF-8 or too long",
            Self::TooLarge => "over the byte limit",
            Self::TooMany => "over the file limit",
            Self::TooDeep => "over the depth limit",
            Self::Unreadable => "cannot be read",
            Self::NotStored => "the storage did not take it",
        })
    }
}

/// A file that a pattern matched and that was not collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Where it was, as text: bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Why it was not collected.
    pub reason: SkipReason,
}

impl Skipped {
    /// A file that was skipped.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: SkipReason) -> Self {
        Self { path: path.into(), reason }
    }
}
