//! What is otherwise in an engine whose kernel is not Linux.

use std::fmt;

/// Something that is otherwise in the sandboxes of an engine than under Linux: nothing that isolates less, but something that programs, or
/// whoever reads outcomes, may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Deviation {
    /// When a process is killed because the sandbox has run out of memory, the whole sandbox ends: there is no [`Ending`](crate::Ending).
    OutOfMemoryEndsAll,
    /// Files of `/proc` lack lines, or are not there.
    LessInProc,
    /// The names of what the guest has open can be seen, its memory map, and its environment, which is empty; nothing of it can be
    /// opened.
    GuestIsSeen,
    /// A kernel of its own stands between programs and that of the host: what is done to it is not done to the host.
    OwnKernel,
    /// System calls take many times as long.
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
