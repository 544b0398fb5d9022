//! What a write survives.

use std::fmt;

/// What a write survives once it is acknowledged. The later in this list, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing but an end in order: it may still be in this process.
    Buffered,
    /// The end of this process, however sudden: the kernel has it.
    Process,
    /// A power cut: the device was told to keep it, and has answered.
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
