//! Watching a command's CPU time.

use std::fmt;
use std::time::Duration;

use crucible_core::Evidence;
use crucible_guest::protocol::{FrameKind, ProcUsage};

use crate::channel::{Channel, ChannelExt as _};
use crate::desk::Disconnected;
use crate::errors::protocol;

/// No two looks are closer than this. With the number of CPUs it bounds by how much a command can overshoot its limit:
/// 5 ms of wall time, so 5 ms of CPU time on each CPU.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Where the guest has to look, through `/proc` or a cgroup that it sees, looks are no closer than this: they cost it CPU
/// time.
const LOOK_MIN_BY_GUEST: Duration = Duration::from_millis(25);

/// Watches the CPU time of a command.
pub struct CpuWatch<'a, C, F> {
    /// The most that the command may use.
    pub limit: Duration,
    /// What the sandbox had used before the command, and what the guest itself uses.
    pub before: Duration,
    /// What the host itself counts for the sandbox; where that is nothing, the guest is asked.
    pub counted: F,
    /// The way to the guest.
    pub channel: &'a C,
    /// How many CPUs a command can use at once.
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
    /// Waits until the limit is reached, and says what was used. Never ends otherwise.
    ///
    /// The limit cannot be reached before every CPU has worked for its share of what is left: that is when to look next.
    pub async fn reached(&self) -> Evidence {
        let mut used = Duration::ZERO;
        loop {
            let least = if (self.counted)().is_some() { LOOK_MIN } else { LOOK_MIN_BY_GUEST };
            let wait = (self.limit.saturating_sub(used) / self.cpus.max(1)).max(least);
            tokio::time::sleep(wait).await;
            used = match self.used().await {
                Some(total) => total.saturating_sub(self.before),
                // Nobody can be asked any more: whoever waits for the command's end sees why.
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
        measure(self.channel).await.ok().map(|usage| cpu_of(&usage))
    }
}

/// CPU time in user mode and in the kernel together. The guest's own figures: their sum need not be a number.
fn cpu_of(usage: &ProcUsage) -> Duration {
    Duration::from_micros(usage.user_us.saturating_add(usage.system_us))
}

/// Asks the guest what the sandbox uses.
///
/// # Cancel safety
/// Dropping the future loses nothing but the answer.
///
/// # Errors
/// See [`Disconnected`].
pub async fn measure(channel: &impl Channel) -> Result<ProcUsage, Disconnected> {
    let question = channel.desk().ask();
    channel.send(FrameKind::Measure, question.id(), &[], &[]).await?;
    let answer = channel.answer(&question).await?;
    match answer.kind {
        FrameKind::Usage => ProcUsage::decode(&answer.payload)
            .map_err(|_| Disconnected::Error(protocol("its usage is malformed", true))),
        _ => Err(Disconnected::Error(protocol("it cannot measure", true))),
    }
}
