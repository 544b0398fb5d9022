//! The log of kills of one command.

use std::time::{Duration, Instant};

use crucible_core::{Evidence, KillReason, Signal};

/// The kills of one command: signal, reason and time. An entry is written before its signal is
/// sent.
#[derive(Debug, Default)]
pub struct KillLog {
    started_at: Option<Instant>,
    entries: Vec<Evidence>,
    killed: bool,
}

impl KillLog {
    /// Sets the start of the command, `ago` before now. The times of all entries count from it.
    pub fn set_start(&mut self, ago: Duration) {
        let now = Instant::now();
        self.started_at = Some(now.checked_sub(ago).unwrap_or(now));
    }

    /// Returns `true` if the host has killed the command.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.killed
    }

    /// Returns the time since the start of the command, or zero if it has not started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started_at.map_or(Duration::ZERO, |started_at| started_at.elapsed())
    }

    /// Records that the host is about to kill the command, and the measurement that justifies it.
    pub fn record_kill(&mut self, reason: KillReason, proof: Option<Evidence>) {
        self.killed = true;
        self.entries.extend(proof);
        self.entries.push(Evidence::Killed { signal: Signal::KILL, reason, after: self.elapsed() });
    }

    /// Returns the entries in the order in which they were written.
    #[must_use]
    pub fn into_entries(self) -> Vec<Evidence> {
        self.entries
    }
}
