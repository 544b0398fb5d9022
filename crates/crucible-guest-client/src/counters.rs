//! What a kernel has counted for a sandbox.

use std::time::Duration;

use crucible_guest::protocol::CgroupCounts;

/// What a kernel has counted for a sandbox. What nobody has counted is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupCounters {
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// How often the sandbox ran into its own memory limit.
    pub memory_limit_hits: Option<u64>,
    /// How often a fork was refused because there were as many processes as there may be.
    pub forks_refused: Option<u64>,
    /// The most memory that was in use at once.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes and threads that there were at once, the guest included.
    pub processes_peak: Option<u64>,
    /// CPU time of everything, the guest included.
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
