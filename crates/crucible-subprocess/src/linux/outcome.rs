//! From facts to evidence, usage and enforcement.

use std::time::Duration;

use crucible_core::{
    Ending, Enforcement, EngineError, Evidence, KillReason, Layer, LayerStatus, Limits, MissingLayer, Signal,
    Usage,
};

use super::cgroup::Counters;
use super::egress::Proxy;
use super::engine::Inner;
use super::errors::not_started;
use super::exec::End;
use super::status::Status;

/// How much later than a program's end the guest may find it, where others take all of the CPUs. What ended by itself
/// within this time after its limit is not blamed for it: nobody can tell which of the two was late.
const REAPED_WITHIN: Duration = Duration::from_millis(250);

/// Everything that is known of a command that has ended.
pub(super) struct Facts<'a> {
    /// What had been counted before the command.
    pub(super) before: Counters,
    /// CPU time of the guest itself before the command.
    pub(super) guest_before: Duration,
    pub(super) now: Counters,
    /// The sandbox's memory limit.
    pub(super) memory_limit: u64,
    /// Bytes written, and the limit on them.
    pub(super) output: (u64, u64),
    /// The limits on time by the clock, and on CPU time.
    pub(super) wall_limit: Duration,
    pub(super) cpu_limit: Duration,
    pub(super) elapsed: Duration,
    pub(super) end: &'a End,
}

impl Facts<'_> {
    fn since(&self, counter: impl Fn(&Counters) -> Option<u64>) -> u64 {
        counter(&self.now).unwrap_or(0).saturating_sub(counter(&self.before).unwrap_or(0))
    }

    /// Whether the kernel itself ended the guest, for lack of memory.
    pub(super) fn explains_a_lost_guest(&self) -> bool {
        self.since(|counters| counters.oom_kills) > 0
    }

    /// What is known, in the order in which it became known.
    pub(super) fn evidence(&self, ledger: Vec<Evidence>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        if let Some(failure) = self.end.exec_failed {
            evidence.push(Evidence::ExecFailed { reason: not_started(failure), errno: failure.errno });
        }
        let ledger_is_empty = ledger.is_empty();
        evidence.extend(ledger);
        if let Some(exited) = &self.end.exited {
            let after = Duration::from_micros(exited.wall_us);
            if exited.deadline && ledger_is_empty {
                // The host stalled, and the guest enforced the wall limit.
                evidence.push(Evidence::Killed { signal: Signal::KILL, reason: KillReason::Wall, after });
            }
            evidence.extend(ending(exited.wait_status).map(|ending| Evidence::Waited { ending, after }));
        }
        let oom_kills = self.since(|counters| counters.oom_kills);
        if oom_kills > 0 {
            let limit_hits = self.since(|counters| counters.memory_limit_hits);
            let peak_bytes = self.now.memory_peak_bytes;
            let limit_bytes = self.memory_limit;
            evidence.push(Evidence::OomKilled { count: oom_kills, limit_hits, peak_bytes, limit_bytes });
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
        if bytes > limit_bytes && !evidence.iter().any(|fact| matches!(fact, Evidence::OutputBytes { .. })) {
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
        let guest = self.end.exited.map_or(self.guest_before, |e| Duration::from_micros(e.guest_us));
        let since = self.now.cpu?.saturating_sub(self.before.cpu.unwrap_or_default());
        Some(since.saturating_sub(guest.saturating_sub(self.guest_before)))
    }

    pub(super) fn usage(&self) -> Usage {
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

/// What was in force: what the kernel said of the command itself right after it was executed, and what was set up before
/// it. A layer of which the kernel says that it is not in force is an error: nothing of the run can be trusted.
pub(super) fn enforcement(
    inner: &Inner,
    end: &End,
    limits: &Limits,
    proxy: Option<&Proxy>,
) -> Result<Enforcement, EngineError> {
    let mut report = inner.info.enforcement.clone();
    let mut note = |layer, detail: String| {
        if report.enforces(layer) {
            report = std::mem::take(&mut report).with(layer, LayerStatus::Enforced, detail);
        }
    };
    if let Some(proxy) = proxy {
        note(Layer::NetworkNamespace, proxy.describe());
    }
    note(Layer::BoundedDisk, format!("{} bytes, {} inodes", limits.disk_bytes, limits.inodes));
    note(Layer::Rlimits, format!("{} open files, no core", limits.open_files));
    note(Layer::MemoryCgroup, format!("{} bytes, no swap", limits.memory_bytes));
    note(Layer::PidsCgroup, format!("{} processes", limits.processes));
    let Some(status) = &end.status else { return Ok(report) };
    let status = Status::parse(status);
    let mut missing = Vec::new();
    let mut hold = |layer, holds: bool, said: String| {
        if !inner.is_waived(layer) && !holds {
            let fix = "report this: the sandbox was set up and is not what it should be";
            missing.push(MissingLayer::new(layer, format!("the kernel says {said} of the program"), fix));
        }
        note(layer, said);
    };
    hold(
        Layer::NoNewPrivileges,
        status.no_new_privs == Some(true),
        format!(
            "no_new_privs {}",
            status.no_new_privs.map_or("unknown", |set| if set { "set" } else { "not set" })
        ),
    );
    let capabilities = status.capabilities.unwrap_or(u64::MAX);
    hold(Layer::Capabilities, capabilities == 0, format!("capabilities {capabilities:#x}"));
    let filters = status.seccomp_filters.unwrap_or(0);
    let ours = filters.saturating_sub(inner.host.seccomp_filters);
    let said = format!("{ours} filter, {}", inner.auditor().describe());
    hold(Layer::Seccomp, status.seccomp == Some(2) && ours > 0, said);
    hold(
        Layer::PidNamespace,
        status.pid_namespaces == Some(1),
        status.pid_namespaces.map_or_else(|| "unknown".to_owned(), |depth| format!("{depth} level inside")),
    );
    if missing.is_empty() { Ok(report) } else { Err(EngineError::LayerUnavailable { missing }) }
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
