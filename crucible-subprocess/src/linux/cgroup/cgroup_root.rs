//! The directories in which an engine creates its cgroups.

use std::path::PathBuf;

/// A controller that the engine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CgroupController {
    Memory,
    Pids,
    /// The CPU time counter: `cpuacct` in version 1, part of every group in version 2.
    Cpu,
}

impl CgroupController {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// Returns the controller's name in version 1.
    pub(super) fn v1_name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpuacct",
        }
    }

    /// Returns the controller's name in version 2, or `None` if every group has it.
    pub(super) fn v2_name(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory"),
            Self::Pids => Some("pids"),
            Self::Cpu => None,
        }
    }
}

/// The version of a cgroup hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupVersion {
    V1,
    V2,
}

/// A directory in which groups with a controller can be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupRoot {
    pub(crate) version: CgroupVersion,
    /// The directory that the configuration names. Detection creates it if it is missing.
    pub(crate) parent: PathBuf,
}

impl CgroupRoot {
    /// Returns `true` if the kernel counts swapped memory. Sandboxes then have no swap.
    pub(crate) fn counts_swap(&self) -> bool {
        self.has_file("memory.memsw.limit_in_bytes", "memory.swap.max")
    }

    /// Returns `true` if the kernel records the peak of the memory in use.
    pub(crate) fn keeps_memory_peak(&self) -> bool {
        self.has_file("memory.max_usage_in_bytes", "memory.peak")
    }

    /// Returns `true` if the kernel records the peak number of processes.
    pub(crate) fn keeps_processes_peak(&self) -> bool {
        self.has_file("pids.peak", "pids.peak")
    }

    fn has_file(&self, v1: &str, v2: &str) -> bool {
        let name = match self.version {
            CgroupVersion::V1 => v1,
            CgroupVersion::V2 => v2,
        };
        self.parent.join(name).exists()
    }
}
