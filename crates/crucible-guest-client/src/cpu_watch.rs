//! Enforcement of a command's CPU time limit.

use std::fmt;
use std::time::Duration;

use crucible_core::Evidence;
use crucible_guest::protocol::ProcUsage;

use crate::channel::{Channel, ChannelExt as _};

/// The shortest time between two measurements. A command can exceed its limit by this much on each
/// CPU: 5 ms of wall time are 5 ms of CPU time.
const INTERVAL_MIN: Duration = Duration::from_millis(5);
/// The shortest time between two measurements by the guest, which reads `/proc` or its own cgroup.
/// Each costs the sandbox CPU time.
const INTERVAL_MIN_BY_GUEST: Duration = Duration::from_millis(25);

/// Watches the CPU time of a command.
pub struct CpuWatch<'a, C, F> {
    /// The limit.
    pub limit: Duration,
    /// CPU time of the sandbox before the command, the guest's own included.
    pub before: Duration,
    /// CPU time of the sandbox as the host counts it. If it returns `None`, the guest is asked.
    pub counted: F,
    /// The channel to the guest.
    pub channel: &'a C,
    /// The number of CPUs that a command can use in parallel.
    pub cpus: u32,
}

impl<C, F> fmt::Debug for CpuWatch<'_, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuWatch")
            .field("limit", &self.limit)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

impl<C: Channel, F: Fn() -> Option<Duration> + Send + Sync> CpuWatch<'_, C, F> {
    /// Waits until the limit is reached and returns the CPU time used. Never resolves otherwise.
    ///
    /// The command cannot reach its limit before each CPU has worked for its share of the remaining
    /// time. The next measurement is due then.
    pub async fn reached(&self) -> Evidence {
        let mut used = Duration::ZERO;
        loop {
            let interval =
                if (self.counted)().is_some() { INTERVAL_MIN } else { INTERVAL_MIN_BY_GUEST };
            let wait = (self.limit.saturating_sub(used) / self.cpus.max(1)).max(interval);
            tokio::time::sleep(wait).await;
            used = match self.used().await {
                Some(total) => total.saturating_sub(self.before),
                // The guest has disconnected. The task that waits for the command's end reports the
                // reason.
                None => std::future::pending().await,
            };
            if used >= self.limit {
                return Evidence::CpuTime { used, limit: self.limit };
            }
        }
    }

    async fn used(&self) -> Option<Duration> {
        if let Some(used) = (self.counted)() {
            return Some(used);
        }
        self.channel.measure().await.ok().map(|usage| cpu_of(&usage))
    }
}

/// Returns the CPU time in user mode and in the kernel together. The figures come from the guest,
/// so the sum saturates.
fn cpu_of(usage: &ProcUsage) -> Duration {
    Duration::from_micros(usage.user_us.saturating_add(usage.system_us))
}
