//! The counters before a command.

use std::time::Duration;

use crate::cgroup_counters::CgroupCounters;

/// The values of all counters before a command.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsageBaseline {
    /// The counters of the sandbox's cgroup.
    pub counters: CgroupCounters,
    /// CPU time of the guest itself.
    pub guest_cpu: Duration,
}
