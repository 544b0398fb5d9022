//! The kill ledger: whom we sent which signal, when, and why. Written before the signal is sent.

use std::time::{Duration, Instant};

use crucible_core::{Evidence, KillReason, Signal};

/// Our kills of one command.
#[derive(Debug, Default)]
pub struct KillLog {
    began: Option<Instant>,
    entries: Vec<Evidence>,
    killed: bool,
}

impl KillLog {
    /// The command was started so long ago: times count from then.
    pub fn begin(&mut self, ago: Duration) {
        let now = Instant::now();
        self.began = Some(now.checked_sub(ago).unwrap_or(now));
    }

    /// Whether the command has been killed.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.killed
    }

    /// How long the command has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// Notes that the command is about to be killed, and what shows that it should be.
    pub fn kill(&mut self, reason: KillReason, proof: Option<Evidence>) {
        self.killed = true;
        self.entries.extend(proof);
        self.entries.push(Evidence::Killed { signal: Signal::KILL, reason, after: self.elapsed() });
    }

    /// The entries, in order.
    #[must_use]
    pub fn into_entries(self) -> Vec<Evidence> {
        self.entries
    }
}
