//! Artifacts: the files that a run collects.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, SandboxPath};

/// A file collected from a sandbox after its program had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// The path beneath the working directory.
    pub path: SandboxPath,
    /// The size.
    pub size_bytes: u64,
    /// The hash of the content, which is also the name of its blob in the storage.
    pub sha256: Digest,
    /// Whether any execute permission bit is set.
    pub executable: bool,
    /// The content; `None` if it is a blob of the storage.
    #[serde(skip)]
    pub content: Option<Bytes>,
}

impl Artifact {
    /// Creates an artifact with its content.
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

/// The reason why a matching file was not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The file is a symbolic link, a FIFO, a socket or a device.
    NotRegular,
    /// The name is not UTF-8, or too long.
    BadName,
    /// The file exceeds the remaining bytes of the collection.
    TooLarge,
    /// The collection has reached its maximum number of files.
    TooMany,
    /// The file is deeper than the maximum depth.
    TooDeep,
    /// The file could not be read.
    Unreadable,
    /// The storage did not accept the content.
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
            Self::NotStored => "the storage did not accept it",
        })
    }
}

/// A matching file that was not collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Skipped {
    /// The path as text. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// The reason.
    pub reason: SkipReason,
}

impl Skipped {
    /// Creates a skipped file.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: SkipReason) -> Self {
        Self { path: path.into(), reason }
    }
}
