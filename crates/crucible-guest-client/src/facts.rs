//! From what is known of a command to evidence and usage.

use std::time::Duration;

use crucible_core::{Ending, Evidence, KillReason, Signal, Usage};

use crate::control::End;
use crate::counters::CgroupCounters;
use crate::errors::not_started;

/// How much later than a program's end the guest may find it, where others take all of the CPUs. What ended by itself
/// within this time after its limit is not blamed for it: nobody can tell which of the two was late.
const REAPED_WITHIN: Duration = Duration::from_millis(250);

/// Everything that is known of a command that has ended.
#[derive(Debug)]
pub struct EvidenceBuilder<'a> {
    /// What had been counted before the command.
    pub before: CgroupCounters,
    /// CPU time of the guest itself before the command.
    pub guest_before: Duration,
    /// What has been counted by now.
    pub now: CgroupCounters,
    /// The sandbox's memory limit.
    pub memory_limit: u64,
    /// Bytes written, and the limit on them.
    pub output: (u64, u64),
    /// The limit on time by the clock.
    pub wall_limit: Duration,
    /// The limit on CPU time.
    pub cpu_limit: Duration,
    /// How long the command has run, by the host's clock.
    pub elapsed: Duration,
    /// What the guest said.
    pub end: &'a End,
}

impl EvidenceBuilder<'_> {
    fn since(&self, counter: impl Fn(&CgroupCounters) -> Option<u64>) -> u64 {
        counter(&self.now).unwrap_or(0).saturating_sub(counter(&self.before).unwrap_or(0))
    }

    /// Whether the kernel itself ended the guest, for lack of memory.
    #[must_use]
    pub fn explains_a_lost_guest(&self) -> bool {
        self.since(|counters| counters.oom_kills) > 0
    }

    /// What is known, in the order in which it became known.
    #[must_use]
    pub fn evidence(&self, ledger: Vec<Evidence>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        if let Some(failure) = self.end.exec_failed {
            evidence
                .push(Evidence::ExecFailed { reason: not_started(failure), errno: failure.errno });
        }
        let ledger_is_empty = ledger.is_empty();
        evidence.extend(ledger);
        if let Some(exited) = &self.end.exited {
            let after = Duration::from_micros(exited.wall_us);
            if exited.deadline && ledger_is_empty {
                // The host stalled, and the guest enforced the wall limit.
                evidence.push(Evidence::Killed {
                    signal: Signal::KILL,
                    reason: KillReason::Wall,
                    after,
                });
            }
            evidence.extend(
                ending(exited.wait_status).map(|ending| Evidence::Waited { ending, after }),
            );
        }
        let oom_kills = self.since(|counters| counters.oom_kills);
        if oom_kills > 0 {
            let limit_hits = self.since(|counters| counters.memory_limit_hits);
            let peak_bytes = self.now.memory_peak_bytes;
            let limit_bytes = self.memory_limit;
            evidence.push(Evidence::OomKilled {
                count: oom_kills,
                limit_hits,
                peak_bytes,
                limit_bytes,
            });
        }
        let forks_refused = self.since(|counters| counters.forks_refused);
        if forks_refused > 0 {
            evidence.push(Evidence::ForkRefused { count: forks_refused });
        }
        if let Some(exited) = &self.end.exited
            && (exited.free_bytes == 0 || exited.free_inodes == 0)
        {
            let (free_bytes, free_inodes) = (exited.free_bytes, exited.free_inodes);
            evidence.push(Evidence::FileSystemFull { free_bytes, free_inodes });
        }
        let (bytes, limit_bytes) = self.output;
        if bytes > limit_bytes
            && !evidence.iter().any(|fact| matches!(fact, Evidence::OutputBytes { .. }))
        {
            // It ended by itself before it could be killed.
            evidence.push(Evidence::OutputBytes { bytes, limit_bytes });
        }
        if ledger_is_empty {
            // Nobody was in time to kill it: what was measured tells.
            evidence.extend(self.measured());
        }
        if self.end.survivors > 0 {
            evidence.push(Evidence::Survivors { count: self.end.survivors });
        }
        if self.end.unconfirmed && !self.end.gone {
            evidence.push(Evidence::NotConfirmedDead);
        }
        evidence
    }

    /// The limits on time that a command crossed which ended by itself.
    fn measured(&self) -> impl Iterator<Item = Evidence> {
        let cpu = self.cpu_counted().filter(|used| *used > self.cpu_limit);
        let cpu = cpu.map(|used| Evidence::CpuTime { used, limit: self.cpu_limit });
        let wall = self.end.exited.map(|exited| Duration::from_micros(exited.wall_us));
        let wall = wall.filter(|used| *used > self.wall_limit.saturating_add(REAPED_WITHIN));
        let wall = wall.map(|used| Evidence::WallTime { used, limit: self.wall_limit });
        cpu.into_iter().chain(wall)
    }

    /// CPU time of the command and its children, where a cgroup counts it. The group counts everything, the guest itself
    /// included.
    fn cpu_counted(&self) -> Option<Duration> {
        let guest =
            self.end.exited.map_or(self.guest_before, |e| Duration::from_micros(e.guest_us));
        let since = self.now.cpu?.saturating_sub(self.before.cpu.unwrap_or_default());
        Some(since.saturating_sub(guest.saturating_sub(self.guest_before)))
    }

    /// What the command used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let (mut user, mut system) = (Duration::ZERO, Duration::ZERO);
        usage.wall = self.elapsed;
        usage.setup = self.end.setup;
        if let Some(exited) = &self.end.exited {
            usage.wall = Duration::from_micros(exited.wall_us);
            user = Duration::from_micros(exited.user_us);
            system = Duration::from_micros(exited.system_us);
            usage.memory_peak_bytes = Some(exited.maxrss_kib.saturating_mul(1024));
        }
        if let Some(total) = self.cpu_counted() {
            // The kernel splits only what was waited for.
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
        // The guest is one of them.
        usage.processes_peak = self.now.processes_peak.map(|peak| peak.saturating_sub(1));
        usage
    }
}

impl EvidenceBuilder<'_> {
    /// What the command used since it got the word to go, for which it had waited. Its own account has all that it ever used; how that
    /// is split between user mode and the kernel is taken for the part as well.
    #[must_use]
    pub fn usage_since_the_word(&self) -> Usage {
        let mut usage = self.usage();
        if let Some(total) = self.cpu_counted() {
            let whole = (usage.cpu_user + usage.cpu_system).as_secs_f64().max(f64::MIN_POSITIVE);
            let of_system = total.mul_f64((usage.cpu_system.as_secs_f64() / whole).clamp(0.0, 1.0));
            (usage.cpu_user, usage.cpu_system) = (total.saturating_sub(of_system), of_system);
        }
        usage
    }
}

/// What a wait status means (wait(2)); `None` if it is not that of an end.
fn ending(status: i32) -> Option<Ending> {
    if !(0..=0xffff).contains(&status) {
        // No kernel says so.
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
    fn a_wait_status_is_what_wait_says() {
        assert_eq!(ending(0), Some(Ending::Exited { code: 0 }));
        assert_eq!(ending(124 << 8), Some(Ending::Exited { code: 124 }));
        assert_eq!(ending(9), Some(Ending::Signaled { signal: Signal::KILL }));
        assert_eq!(ending(11 | 0x80), Some(Ending::Signaled { signal: Signal::SEGV }));
        // Stopped, gone on, and nothing at all.
        for status in [0x137f, 0xffff, 0x1_0000, -1, i32::MIN] {
            assert_eq!(ending(status), None, "{status:#x}");
        }
    }
}
