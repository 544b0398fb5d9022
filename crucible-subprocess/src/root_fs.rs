//! The root file system of sandboxes.

use std::path::{Path, PathBuf};

/// The root file system of sandboxes, read-only.
///
/// Each sandbox adds its own `/tmp` (to which `/dev/shm` links), `/box` (the working directory),
/// `/proc`, and a `/dev` with `null`, `zero`, `full`, `random` and `urandom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFs {
    pub(crate) base: Base,
    pub(crate) read_only: Vec<PathBuf>,
}

/// The source of the system directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Host,
    Directory(PathBuf),
}

impl Default for RootFs {
    fn default() -> Self {
        Self::host()
    }
}

impl RootFs {
    /// Returns a root with the host's own system directories.
    ///
    /// It contains `/usr`, with `/bin`, `/lib` and similar directories, and the files in `/etc`
    /// that programs need to start: the linker's cache, `alternatives`, and generated `passwd`,
    /// `group`, `hosts` and `nsswitch.conf`. It contains no other directory of the host, such as
    /// `/home`, `/var` or `/run`.
    #[must_use]
    pub fn host() -> Self {
        Self { base: Base::Host, read_only: Vec::new() }
    }

    /// Returns a root with the content of a directory in the layout of a root file system.
    ///
    /// Its `/tmp`, `/box`, `/dev`, `/proc` and `/sys` are not used.
    #[must_use]
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { base: Base::Directory(path.into()), read_only: Vec::new() }
    }

    /// Adds another directory or file of the host, at its own path: a tool chain, a data set.
    ///
    /// It must be readable for all users, because programs run as a user that the host does not
    /// know.
    #[must_use]
    pub fn with_read_only(mut self, path: impl AsRef<Path>) -> Self {
        self.read_only.push(path.as_ref().to_owned());
        self
    }
}
