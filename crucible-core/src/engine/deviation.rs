//! Differences between an engine's sandboxes and Linux.

use std::fmt;

/// A difference between an engine's sandboxes and Linux.
///
/// A deviation does not weaken the isolation. A program, or a reader of outcomes, may depend on the
/// usual behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Deviation {
    /// When the sandbox runs out of memory, the kernel ends the whole sandbox. The outcome has no
    /// [`Ending`](crate::Ending).
    OutOfMemoryEndsAll,
    /// Files of `/proc` lack lines or do not exist.
    LessInProc,
    /// Programs can see the names of the guest's open files, its memory map, and its empty
    /// environment. They can open none of the files.
    GuestIsSeen,
    /// A separate kernel handles the programs' system calls. An attack on it does not reach the
    /// host's kernel.
    OwnKernel,
    /// System calls take several times as long.
    SlowCalls,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemoryEndsAll => "out of memory, the whole sandbox ends",
            Self::LessInProc => "files of /proc lack lines, or are not there",
            Self::GuestIsSeen => "the names of what the guest has open can be seen",
            Self::OwnKernel => "a kernel of its own stands between programs and that of the host",
            Self::SlowCalls => "system calls take many times as long",
        })
    }
}
