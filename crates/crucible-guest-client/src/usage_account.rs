//! The usage of a sandbox, summed over its commands.

use std::time::Duration;

use crucible_core::Usage;

use crate::cgroup_counters::CgroupCounters;
use crate::evidence_builder::EvidenceBuilder;
use crate::usage_baseline::UsageBaseline;

/// The usage of a sandbox up to the end of its last command.
#[derive(Debug, Clone, Default)]
pub struct UsageAccount {
    /// The counters at the end of the last command; before the first command, those at the start of
    /// the sandbox.
    pub baseline: UsageBaseline,
    /// The usage of all commands together.
    pub used: Usage,
}

impl UsageAccount {
    /// Creates the account of a sandbox in which no command has run.
    #[must_use]
    pub fn new(counters: CgroupCounters) -> Self {
        let baseline = UsageBaseline { counters, guest_cpu: Duration::ZERO };
        Self { baseline, used: Usage::default() }
    }

    /// Adds the usage of a command that has ended.
    pub fn record(&mut self, command: &EvidenceBuilder, usage: &Usage) {
        self.baseline =
            UsageBaseline { counters: command.now, guest_cpu: command.guest_cpu_after() };
        let used = &mut self.used;
        used.cpu_user = used.cpu_user.saturating_add(usage.cpu_user);
        used.cpu_system = used.cpu_system.saturating_add(usage.cpu_system);
        used.memory_peak_bytes = used.memory_peak_bytes.max(usage.memory_peak_bytes);
        used.processes_peak = used.processes_peak.max(usage.processes_peak);
    }
}
