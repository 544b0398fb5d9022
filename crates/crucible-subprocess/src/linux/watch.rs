//! Watching a command's CPU time.

use std::time::Duration;

use crucible_core::Evidence;
use crucible_guest::protocol::{FrameKind, Usage};

use super::cgroup::Group;
use super::link::{Ended, Link};

/// No two looks are closer than this. With the number of CPUs it bounds by how much a command can overshoot its limit:
/// 5 ms of wall time, so 5 ms of CPU time on each CPU.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Where the guest has to look through `/proc`, looks are no closer than this: they cost it CPU time.
const LOOK_MIN_BY_GUEST: Duration = Duration::from_millis(25);

/// Watches the CPU time of a command.
#[derive(Debug)]
pub(super) struct CpuWatch<'a> {
    pub(super) limit: Duration,
    /// What the sandbox had used before the command, and what the guest itself uses.
    pub(super) before: Duration,
    pub(super) group: Option<&'a Group>,
    pub(super) link: &'a Link,
    /// How many CPUs a command can use at once.
    pub(super) cpus: u32,
}

impl CpuWatch<'_> {
    /// Waits until the limit is reached, and says what was used. Never ends otherwise.
    ///
    /// The limit cannot be reached before every CPU has worked for its share of what is left: that is when to look next.
    pub(super) async fn reached(&self) -> Evidence {
        let mut used = Duration::ZERO;
        loop {
            let least = if self.counted().is_some() { LOOK_MIN } else { LOOK_MIN_BY_GUEST };
            let wait = (self.limit.saturating_sub(used) / self.cpus).max(least);
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

    fn counted(&self) -> Option<&Group> {
        self.group.filter(|group| matches!(group.cpu(), Ok(Some(_))))
    }

    async fn used(&self) -> Option<Duration> {
        if let Some(group) = self.counted() {
            return group.cpu().ok().flatten();
        }
        let usage = measure(self.link).await.ok()?;
        // The guest's own figures: their sum need not be a number.
        Some(Duration::from_micros(usage.user_us.saturating_add(usage.system_us)))
    }
}

/// Asks the guest what the sandbox uses.
pub(super) async fn measure(link: &Link) -> Result<Usage, Ended> {
    let question = link.ask();
    link.send(FrameKind::Measure, question.id, &[], &[], &[]).await?;
    let answer = link.answer(&question).await?;
    match answer.kind {
        FrameKind::Usage => Usage::decode(&answer.payload)
            .map_err(|_| Ended::Error(super::errors::protocol("its usage is malformed", true))),
        _ => Err(Ended::Error(super::errors::protocol("it cannot measure", true))),
    }
}
