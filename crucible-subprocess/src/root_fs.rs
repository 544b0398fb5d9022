//! The root file system that programs see.

use std::path::{Path, PathBuf};

/// The root file system that programs see, read-only.
///
/// On top of it every sandbox has its own `/tmp` (which `/dev/shm` is a link to), `/box` (the working directory), `/proc`, and a `/dev` with
/// `null`, `zero`, `full`, `random` and `urandom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFs {
    pub(crate) base: Base,
    pub(crate) read_only: Vec<PathBuf>,
}

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
    /// The host's own system directories: `/usr`, with `/bin`, `/lib` and their kin, and of `/etc` what programs need to
    /// start (the linker's cache, `alternatives`, made-up `passwd`, `group`, `hosts` and `nsswitch.conf`). Nothing else
    /// of the host: no home, no `/var`, no `/run`.
    #[must_use]
    pub fn host() -> Self {
        Self { base: Base::Host, read_only: Vec::new() }
    }

    /// What is in this directory of the host, which is laid out like a root file system. Its `/tmp`, `/box`, `/dev`,
    /// `/proc` and `/sys` are not used.
    #[must_use]
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { base: Base::Directory(path.into()), read_only: Vec::new() }
    }

    /// Shows another directory or file of the host, at the path that it has there: a tool chain, a data set. It must be
    /// readable for everybody, since programs run as a user whom nobody knows.
    #[must_use]
    pub fn with_read_only(mut self, path: impl AsRef<Path>) -> Self {
        self.read_only.push(path.as_ref().to_owned());
        self
    }
}
