//! From what the guest side says to what the host is told.

use std::io;

use crucible_core::{EngineError, FileReason, NotStartedReason};
use crucible_guest::protocol::{Failure, Step};

use crate::desk::Disconnected;

/// The host side of a sandbox failed.
pub fn setup(step: impl Into<String>, source: impl Into<io::Error>) -> EngineError {
    EngineError::setup(step, source.into())
}

/// A step of the guest side failed.
#[must_use]
pub fn failed_step(failure: Failure) -> EngineError {
    let step = failure.step.describe().unwrap_or("do an unknown step");
    setup(step, io::Error::from_raw_os_error(failure.errno))
}

/// The guest side said something that it should not.
#[must_use]
pub fn protocol(what: impl Into<String>, started: bool) -> EngineError {
    EngineError::Protocol { what: what.into(), started }
}

/// The guest side is gone.
#[must_use]
pub fn lost(doing: impl Into<String>, started: bool) -> EngineError {
    EngineError::Lost { doing: doing.into(), started, source: None }
}

/// Why the kernel would not execute a program (execve(2), chdir(2)).
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

/// What stood in the way of a file.
#[must_use]
pub fn file(path: impl Into<String>, failure: Failure) -> EngineError {
    let reason = match failure.errno {
        libc::ENOENT => FileReason::NotFound,
        // openat2(2): a link, a way out, another file system.
        libc::ELOOP | libc::EXDEV => FileReason::Link,
        libc::ENOTDIR if failure.step == Step::LIST => FileReason::NotDirectory,
        libc::ENOTDIR => FileReason::NotFound,
        // What opening a FIFO, a socket or a device ends in.
        libc::EISDIR | libc::EINVAL | libc::ENXIO | libc::ENODEV if failure.step == Step::READ => {
            FileReason::NotRegular
        }
        libc::EISDIR | libc::EEXIST => FileReason::Exists,
        libc::ENOSPC | libc::EDQUOT => FileReason::NoSpace,
        errno => FileReason::Os(errno),
    };
    EngineError::File { path: path.into(), reason }
}

/// What the end of a conversation means.
#[must_use]
pub fn why(ended: Disconnected, started: bool) -> EngineError {
    match ended {
        Disconnected::Gone => lost(if started { "running" } else { "setting it up" }, started),
        Disconnected::Error(EngineError::Protocol { what, .. }) => protocol(what, started),
        Disconnected::Error(error) => error,
    }
}
