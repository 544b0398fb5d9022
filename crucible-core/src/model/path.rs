//! Paths inside a sandbox.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The maximum length of a [`SandboxPath`] in bytes. Linux accepts 4095 (`PATH_MAX` without the
/// final NUL). The difference is for the directory that an engine prepends.
const LONGEST_PATH: usize = 3072;
/// The maximum length of one component in bytes (`NAME_MAX`, limits.h).
const LONGEST_NAME: usize = 255;
/// The maximum number of components. An engine opens each component separately.
const DEEPEST_PATH: usize = 64;

/// A relative path beneath a sandbox's working directory (`/box`).
///
/// It has no `..`, no leading `/`, no NUL and no empty component, so it cannot name a file outside.
/// `.` alone is the working directory itself. The engine refuses symbolic links of the guest when
/// it opens a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxPath(String);

/// The reason why a text is not a [`SandboxPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxPathError {
    /// The text is empty.
    #[error("a sandbox path must not be empty")]
    Empty,
    /// The path begins with `/`.
    #[error("sandbox path {path:?} is absolute; it must be relative to the working directory")]
    Absolute {
        /// The path.
        path: String,
    },
    /// A component is `..`.
    #[error("sandbox path {path:?} has a `..` component")]
    Parent {
        /// The path.
        path: String,
    },
    /// A component is empty, or `.` beside others.
    #[error("sandbox path {path:?} has an empty or `.` component")]
    Component {
        /// The path.
        path: String,
    },
    /// The path contains a NUL byte.
    #[error("sandbox path {path:?} contains a NUL byte")]
    Nul {
        /// The path.
        path: String,
    },
    /// The path, one of its components, or its depth exceeds the limit.
    #[error(
        "a sandbox path has at most {LONGEST_PATH} bytes, and {DEEPEST_PATH} names of at most \
         {LONGEST_NAME} bytes"
    )]
    TooLong,
}

impl SandboxPath {
    /// Validates a text and creates a path.
    ///
    /// # Errors
    /// Returns a [`SandboxPathError`] with the reason.
    pub fn new(path: impl Into<String>) -> Result<Self, SandboxPathError> {
        let path = path.into();
        if path.is_empty() {
            return Err(SandboxPathError::Empty);
        }
        if path.len() > LONGEST_PATH {
            return Err(SandboxPathError::TooLong);
        }
        if path.contains('\0') {
            return Err(SandboxPathError::Nul { path });
        }
        if path.starts_with('/') {
            return Err(SandboxPathError::Absolute { path });
        }
        if path == "." {
            return Ok(Self(path));
        }
        let mut depth = 0;
        for component in path.split('/') {
            depth += 1;
            match component {
                ".." => return Err(SandboxPathError::Parent { path }),
                "" | "." => return Err(SandboxPathError::Component { path }),
                name if name.len() > LONGEST_NAME => return Err(SandboxPathError::TooLong),
                _ => {}
            }
        }
        if depth > DEEPEST_PATH { Err(SandboxPathError::TooLong) } else { Ok(Self(path)) }
    }

    /// Returns the working directory itself.
    #[must_use]
    pub fn root() -> Self {
        Self(".".to_owned())
    }

    /// Returns `true` if this is the working directory itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "."
    }

    /// Returns the path as text, without a leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of the entry `name` in the directory at this path.
    ///
    /// # Errors
    /// Returns a [`SandboxPathError`] if the joined text is not a path.
    pub fn join(&self, name: &str) -> Result<Self, SandboxPathError> {
        if self.is_root() { Self::new(name) } else { Self::new(format!("{}/{name}", self.0)) }
    }
}

impl fmt::Display for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SandboxPath({:?})", self.0)
    }
}

impl FromStr for SandboxPath {
    type Err = SandboxPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<&str> for SandboxPath {
    type Error = SandboxPathError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for SandboxPath {
    type Error = SandboxPathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl Serialize for SandboxPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SandboxPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_outside_working_directory_are_refused() {
        for path in ["a", "a/b.txt", ".hidden", "...", "a b", "ü/ñ", "-rf", "."] {
            assert_eq!(SandboxPath::new(path).unwrap().as_str(), path);
        }
        for path in
            ["", "/", "/etc/passwd", "..", "a/../b", "a/..", "a//b", "a/", "./a", "a/./b", "a\0b"]
        {
            assert!(SandboxPath::new(path).is_err(), "{path:?}");
        }
        assert_eq!(SandboxPath::new("x".repeat(256)), Err(SandboxPathError::TooLong));
        assert_eq!(SandboxPath::new(vec!["d"; 65].join("/")), Err(SandboxPathError::TooLong));
        assert!(SandboxPath::new(vec!["d"; 64].join("/")).is_ok());
    }

    #[test]
    fn join_on_root_omits_the_dot() {
        let dir = SandboxPath::root().join("out").unwrap();
        assert_eq!(dir.as_str(), "out");
        assert_eq!(dir.join("a.txt").unwrap().as_str(), "out/a.txt");
        assert!(dir.join("..").is_err());
        assert!(dir.join("/etc").is_err());
    }

    proptest! {
        #[test]
        fn accepted_paths_never_escape(text in "[a./\\\\\0 ]{0,24}") {
            if let Ok(path) = SandboxPath::new(text) {
                let joined = std::path::Path::new("/box").join(path.as_str());
                prop_assert!(joined.starts_with("/box"));
                prop_assert!(joined.components().all(|c| c != std::path::Component::ParentDir));
            }
        }
    }
}
