//! Reasons of failed file operations.

use std::fmt;

/// The reason why a file operation in a sandbox failed. The guest controls the files, so the cause
/// is not the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileReason {
    /// The file does not exist, or a part of the path is not a directory.
    NotFound,
    /// The file is not a regular file.
    NotRegular,
    /// The file is not a directory.
    NotDirectory,
    /// A part of the path is a symbolic link, or leads out of the working directory.
    Link,
    /// The file has more bytes than the caller accepts.
    TooLarge,
    /// The disk or inode limit is reached.
    NoSpace,
    /// Another file with the same path exists.
    Exists,
    /// Another error, with its number (errno(3)).
    Os(i32),
}

impl fmt::Display for FileReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it does not exist"),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::NotDirectory => f.write_str("it is not a directory"),
            Self::Link => f.write_str("the path contains a link"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::NoSpace => f.write_str("the sandbox's disk is full"),
            Self::Exists => f.write_str("another file exists there"),
            Self::Os(errno) => write!(f, "error {errno}"),
        }
    }
}
