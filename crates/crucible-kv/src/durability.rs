//! Durability levels.

use std::fmt;

/// The event that an acknowledged write survives. Later levels are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// An orderly close only. The write may still be in this process's memory.
    Buffered,
    /// A sudden end of this process. The kernel has the write.
    Process,
    /// A power cut. The device has confirmed the write.
    Power,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Process => "process",
            Self::Power => "power",
        })
    }
}
