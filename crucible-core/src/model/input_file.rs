//! Input files of evaluations.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::wire_bytes;

/// A file to write into the sandbox before the program starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InputFile {
    /// The path beneath the working directory. It is validated with the rest of the evaluation, see
    /// [`SandboxPath`](crate::SandboxPath).
    pub path: String,
    /// The content.
    #[serde(with = "wire_bytes")]
    pub content: Bytes,
    /// Whether the file is executable.
    #[serde(default)]
    pub executable: bool,
}

impl InputFile {
    /// Creates a file that is not executable.
    #[must_use]
    pub fn new(path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self { path: path.into(), content: content.into(), executable: false }
    }

    /// Makes the file executable.
    #[must_use]
    pub fn with_executable(mut self) -> Self {
        self.executable = true;
        self
    }
}
