//! Conversion of guest failures to [`EngineError`].

use std::io;

use crucible_core::{EngineError, FileReason, NotStartedReason};
use crucible_guest::protocol::{Failure, Step};

/// The reason why a channel no longer delivers frames.
#[derive(Debug)]
pub enum Disconnected {
    /// The guest side closed the channel.
    Gone,
    /// A setup step of the sandbox failed, or the guest broke the protocol.
    Error(EngineError),
}

impl Disconnected {
    /// Ignores [`Disconnected::Gone`]: the guest may have sent the reason before it closed the
    /// channel, and the caller reads it later.
    ///
    /// # Errors
    /// Returns the error of any other disconnection.
    pub fn unless_gone(sent: Result<(), Self>) -> Result<(), EngineError> {
        match sent {
            Ok(()) | Err(Self::Gone) => Ok(()),
            Err(Self::Error(error)) => Err(error),
        }
    }

    /// Returns the error to report for this disconnection.
    #[must_use]
    pub fn into_error(self, started: bool) -> EngineError {
        match self {
            Self::Gone => lost(if started { "running" } else { "setting it up" }, started),
            Self::Error(EngineError::Protocol { what, .. }) => protocol(what, started),
            Self::Error(error) => error,
        }
    }
}

/// Returns the error of a failed setup step on the host side.
pub fn setup(step: impl Into<String>, source: impl Into<io::Error>) -> EngineError {
    EngineError::setup(step, source.into())
}

/// Returns the error of a failed setup step on the guest side.
#[must_use]
pub fn failed_step(failure: Failure) -> EngineError {
    let step = failure.step.describe().unwrap_or("do an unknown step");
    setup(step, io::Error::from_raw_os_error(failure.errno))
}

/// Returns the error of a guest that broke the protocol.
#[must_use]
pub fn protocol(what: impl Into<String>, started: bool) -> EngineError {
    EngineError::Protocol { what: what.into(), started }
}

/// Returns the error of a guest that closed its channel or ended.
#[must_use]
pub fn lost(doing: impl Into<String>, started: bool) -> EngineError {
    EngineError::Lost { doing: doing.into(), started, source: None }
}

/// Returns the reason why the kernel refused to execute a program (execve(2), chdir(2)).
#[must_use]
pub fn not_started(failure: Failure) -> NotStartedReason {
    if failure.step == Step::TARGET_DIRECTORY {
        return NotStartedReason::NoSuchDirectory;
    }
    match failure.errno {
        libc::ENOENT | libc::ENOTDIR => NotStartedReason::NoSuchProgram,
        libc::EACCES | libc::EPERM => NotStartedReason::PermissionDenied,
        libc::ENOEXEC | libc::EINVAL | libc::ELIBBAD => NotStartedReason::BadFormat,
        _ => NotStartedReason::Refused,
    }
}

/// Returns the error of a failed file operation.
#[must_use]
pub fn file(path: impl Into<String>, failure: Failure) -> EngineError {
    let reason = match failure.errno {
        libc::ENOENT => FileReason::NotFound,
        // openat2(2) reports these for a link, a path that escapes, and another file system.
        libc::ELOOP | libc::EXDEV => FileReason::Link,
        libc::ENOTDIR if failure.step == Step::LIST => FileReason::NotDirectory,
        libc::ENOTDIR => FileReason::NotFound,
        // Opening a FIFO, a socket or a device fails with these.
        libc::EISDIR | libc::EINVAL | libc::ENXIO | libc::ENODEV if failure.step == Step::READ => {
            FileReason::NotRegular
        }
        libc::EISDIR | libc::EEXIST => FileReason::Exists,
        libc::ENOSPC | libc::EDQUOT => FileReason::NoSpace,
        errno => FileReason::Os(errno),
    };
    EngineError::File { path: path.into(), reason }
}
