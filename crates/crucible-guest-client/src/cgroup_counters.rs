//! The counters of a sandbox's cgroup.

use std::time::Duration;

use crucible_guest::protocol::CgroupCounts;

/// The counters of a sandbox's cgroup. A counter that the kernel does not provide is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupCounters {
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// The number of times that the sandbox reached its own memory limit.
    pub memory_limit_hits: Option<u64>,
    /// The number of forks that the kernel refused because of the process limit.
    pub forks_refused: Option<u64>,
    /// The highest memory use.
    pub memory_peak_bytes: Option<u64>,
    /// The highest number of processes and threads, the guest included.
    pub processes_peak: Option<u64>,
    /// CPU time of all processes, the guest included.
    pub cpu: Option<Duration>,
}

impl From<CgroupCounts> for CgroupCounters {
    fn from(counted: CgroupCounts) -> Self {
        Self {
            oom_kills: counted.oom_kills,
            memory_limit_hits: counted.memory_limit_hits,
            forks_refused: counted.forks_refused,
            memory_peak_bytes: counted.memory_peak_bytes,
            processes_peak: counted.processes_peak,
            cpu: counted.cpu_us.map(Duration::from_micros),
        }
    }
}
