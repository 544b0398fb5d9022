//! The size of a sandbox.

use crucible_core::Limits;

/// The limits that apply from the creation of a sandbox on. Unused sandboxes without a network and
/// of the same size are interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SandboxSize {
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) inodes: u64,
}

impl From<&Limits> for SandboxSize {
    fn from(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            inodes: limits.inodes,
        }
    }
}
