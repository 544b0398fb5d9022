//! Evidence and usage of a command that has ended.

use std::time::Duration;

use crucible_core::{Ending, EngineError, Evidence, KillReason, Signal, Usage};

use crate::cgroup_counters::CgroupCounters;
use crate::command_limits::CommandLimits;
use crate::command_run::CommandRun;
use crate::errors::{lost, not_started};
use crate::usage_baseline::UsageBaseline;

/// The longest delay between a program's end and its reaping by the guest while other processes use
/// all CPUs. A program that ended by itself within this time after its limit is not blamed: the
/// program may have been in time and the guest late.
const REAP_DELAY_MAX: Duration = Duration::from_millis(250);

/// The facts about a command that has ended.
#[derive(Debug)]
pub struct EvidenceBuilder {
    /// The counters before the command.
    pub before: UsageBaseline,
    /// The counters after the command.
    pub now: CgroupCounters,
    /// The limits of the command.
    pub limits: CommandLimits,
    /// The memory limit of the sandbox.
    pub memory_limit: u64,
    /// Bytes of both output streams together.
    pub output_bytes: u64,
    /// The end of the command and the host's kills.
    pub run: CommandRun,
}

impl EvidenceBuilder {
    /// Returns the error to report if the guest disappeared and no recorded fact explains the
    /// disappearance.
    #[must_use]
    pub fn lost_guest(&self) -> Option<EngineError> {
        let is_lost = self.run.guest_was_lost() && !self.guest_was_oom_killed();
        is_lost.then(|| lost("running", self.run.end.status.is_some()))
    }

    /// Returns `true` if the kernel may have killed the guest for lack of memory.
    #[must_use]
    pub fn guest_was_oom_killed(&self) -> bool {
        self.since(|counters| counters.oom_kills) > 0
    }

    /// Returns the CPU time of the guest itself after the command.
    #[must_use]
    pub fn guest_cpu_after(&self) -> Duration {
        let exited = &self.run.end.exited;
        exited.map_or(self.before.guest_cpu, |exited| Duration::from_micros(exited.guest_us))
    }

    /// Returns the usage of the command.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let (mut user, mut system) = (Duration::ZERO, Duration::ZERO);
        usage.wall = self.run.kill_log.elapsed();
        usage.setup = self.run.end.setup;
        if let Some(exited) = &self.run.end.exited {
            usage.wall = Duration::from_micros(exited.wall_us);
            user = Duration::from_micros(exited.user_us);
            system = Duration::from_micros(exited.system_us);
            usage.memory_peak_bytes = Some(exited.maxrss_kib.saturating_mul(1024));
        }
        if let Some(total) = self.cpu_counted() {
            // The kernel splits only the time of processes that were waited for.
            let unsplit = total.saturating_sub(user + system);
            let share = system.as_secs_f64() / (user + system).as_secs_f64().max(f64::MIN_POSITIVE);
            let of_system = unsplit.mul_f64(share.clamp(0.0, 1.0));
            system += of_system;
            user += unsplit.saturating_sub(of_system);
        }
        (usage.cpu_user, usage.cpu_system) = (user, system);
        if let Some(peak) = self.now.memory_peak_bytes {
            usage.memory_peak_bytes = Some(peak);
        }
        // The count includes the guest.
        usage.processes_peak = self.now.processes_peak.map(|peak| peak.saturating_sub(1));
        usage
    }

    /// Returns the usage since the baseline. The command was started before the baseline and waited
    /// until then.
    ///
    /// The exit report covers the whole life of such a command. Its ratio of user to kernel time is
    /// applied to the part since the baseline.
    #[must_use]
    pub fn usage_since_resume(&self) -> Usage {
        let mut usage = self.usage();
        if let Some(total) = self.cpu_counted() {
            let whole = (usage.cpu_user + usage.cpu_system).as_secs_f64().max(f64::MIN_POSITIVE);
            let of_system = total.mul_f64((usage.cpu_system.as_secs_f64() / whole).clamp(0.0, 1.0));
            (usage.cpu_user, usage.cpu_system) = (total.saturating_sub(of_system), of_system);
        }
        usage
    }

    /// Returns the evidence in the order in which the facts became known.
    #[must_use]
    pub fn into_evidence(mut self) -> Vec<Evidence> {
        let kills = std::mem::take(&mut self.run.kill_log).into_entries();
        let was_killed = !kills.is_empty();
        let mut evidence = Vec::new();
        if let Some(failure) = self.run.end.exec_failed {
            let reason = not_started(failure);
            evidence.push(Evidence::ExecFailed { reason, errno: failure.errno });
        }
        evidence.extend(kills);
        evidence.extend(self.exit_evidence(was_killed));
        evidence.extend(self.counter_evidence());
        evidence.extend(self.full_disk());
        let (bytes, limit_bytes) = (self.output_bytes, self.limits.output_bytes);
        let is_recorded = evidence.iter().any(|fact| matches!(fact, Evidence::OutputBytes { .. }));
        if bytes > limit_bytes && !is_recorded {
            // The command ended by itself before the host could kill it.
            evidence.push(Evidence::OutputBytes { bytes, limit_bytes });
        }
        if !was_killed {
            // The host was not in time to kill the command: the measurements show the exceeded
            // limits.
            evidence.extend(self.exceeded_times());
        }
        let end = &self.run.end;
        if end.survivors > 0 {
            evidence.push(Evidence::Survivors { count: end.survivors });
        }
        if end.unconfirmed && !end.gone {
            evidence.push(Evidence::NotConfirmedDead);
        }
        evidence
    }

    /// Returns the ending of the program. If only the guest enforced the wall limit, that kill
    /// comes first.
    fn exit_evidence(&self, was_killed: bool) -> Vec<Evidence> {
        let Some(exited) = &self.run.end.exited else { return Vec::new() };
        let after = Duration::from_micros(exited.wall_us);
        // The host stalled, and the guest enforced the limit.
        let by_guest = (exited.deadline && !was_killed).then_some(Evidence::Killed {
            signal: Signal::KILL,
            reason: KillReason::Wall,
            after,
        });
        let waited = ending(exited.wait_status).map(|ending| Evidence::Waited { ending, after });
        by_guest.into_iter().chain(waited).collect()
    }

    /// Returns the events that the cgroup counted during the command.
    fn counter_evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        let count = self.since(|counters| counters.oom_kills);
        if count > 0 {
            evidence.push(Evidence::OomKilled {
                count,
                limit_hits: self.since(|counters| counters.memory_limit_hits),
                peak_bytes: self.now.memory_peak_bytes,
                limit_bytes: self.memory_limit,
            });
        }
        let count = self.since(|counters| counters.forks_refused);
        if count > 0 {
            evidence.push(Evidence::ForkRefused { count });
        }
        evidence
    }

    fn full_disk(&self) -> Option<Evidence> {
        let exited = self.run.end.exited?;
        let (free_bytes, free_inodes) = (exited.free_bytes, exited.free_inodes);
        let is_full = free_bytes == 0 || free_inodes == 0;
        is_full.then_some(Evidence::FileSystemFull { free_bytes, free_inodes })
    }

    /// Returns the time limits that a command exceeded before it ended by itself.
    fn exceeded_times(&self) -> impl Iterator<Item = Evidence> {
        let CommandLimits { cpu: cpu_limit, wall: wall_limit, .. } = self.limits;
        let cpu = self.cpu_counted().filter(|used| *used > cpu_limit);
        let cpu = cpu.map(|used| Evidence::CpuTime { used, limit: cpu_limit });
        let wall = self.run.end.exited.map(|exited| Duration::from_micros(exited.wall_us));
        let wall = wall.filter(|used| *used > wall_limit.saturating_add(REAP_DELAY_MAX));
        let wall = wall.map(|used| Evidence::WallTime { used, limit: wall_limit });
        cpu.into_iter().chain(wall)
    }

    /// Returns the CPU time of the command and its children, where a cgroup counts it. The guest's
    /// share of the cgroup's time is subtracted.
    fn cpu_counted(&self) -> Option<Duration> {
        let before = self.before.counters.cpu.unwrap_or_default();
        let since = self.now.cpu?.saturating_sub(before);
        Some(since.saturating_sub(self.guest_cpu_after().saturating_sub(self.before.guest_cpu)))
    }

    fn since(&self, counter: impl Fn(&CgroupCounters) -> Option<u64>) -> u64 {
        let before = counter(&self.before.counters).unwrap_or(0);
        counter(&self.now).unwrap_or(0).saturating_sub(before)
    }
}

/// Returns the ending that a wait status reports (wait(2)), or `None` if it does not report an end.
fn ending(status: i32) -> Option<Ending> {
    if !(0..=0xffff).contains(&status) {
        // No kernel reports such a status.
        return None;
    }
    let signal = status & 0x7f;
    if signal == 0 {
        return Some(Ending::Exited { code: status >> 8 & 0xff });
    }
    Signal::from_number(signal).map(|signal| Ending::Signaled { signal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_is_decoded_as_wait_2_defines() {
        assert_eq!(ending(0), Some(Ending::Exited { code: 0 }));
        assert_eq!(ending(124 << 8), Some(Ending::Exited { code: 124 }));
        assert_eq!(ending(9), Some(Ending::Signaled { signal: Signal::KILL }));
        assert_eq!(ending(11 | 0x80), Some(Ending::Signaled { signal: Signal::SEGV }));
        // Stopped, continued, and invalid values.
        for status in [0x137f, 0xffff, 0x1_0000, -1, i32::MIN] {
            assert_eq!(ending(status), None, "{status:#x}");
        }
    }
}
