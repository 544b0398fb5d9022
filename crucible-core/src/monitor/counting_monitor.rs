//! A monitor that counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::monitors::Monitor;
use crate::journal::{Event, EventKind};

/// The counts of a [`CountingMonitor`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MonitorCounts {
    /// The number of events by wire name: `submitted`, `started`, `finished` and so on.
    pub events: BTreeMap<&'static str, u64>,
    /// The number of verdicts by wire name, with the name of a limit: `exited`,
    /// `limit_exceeded memory`.
    pub verdicts: BTreeMap<String, u64>,
    /// The wall time of all runs with an outcome.
    pub wall: Duration,
    /// The CPU time of all runs with an outcome.
    pub cpu: Duration,
    /// The number of bytes that programs wrote.
    pub output_bytes: u64,
}

impl MonitorCounts {
    /// Returns the number of events with this wire name.
    #[must_use]
    pub fn event(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    /// Returns the number of verdicts with this name.
    #[must_use]
    pub fn verdict(&self, name: &str) -> u64 {
        self.verdicts.get(name).copied().unwrap_or(0)
    }
}

/// A monitor that counts events, verdicts and usage in this process, for tests and status pages.
#[derive(Debug, Default)]
pub struct CountingMonitor(Mutex<MonitorCounts>);

impl CountingMonitor {
    /// Creates a monitor with all counts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the current counts.
    #[must_use]
    pub fn counts(&self) -> MonitorCounts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, MonitorCounts> {
        // The counts are consistent between statements, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for CountingMonitor {
    fn observe(&self, event: &Event) {
        let mut counts = self.lock();
        *counts.events.entry(event.kind.name()).or_default() += 1;
        let outcome = match &event.kind {
            EventKind::Finished { outcome } => Some(outcome),
            EventKind::Cancelled { outcome, .. } => outcome.as_ref(),
            _ => None,
        };
        if let Some(outcome) = outcome {
            let name = match outcome.verdict() {
                crate::Verdict::LimitExceeded { limit } => format!("limit_exceeded {limit}"),
                verdict => verdict.kind().to_owned(),
            };
            *counts.verdicts.entry(name).or_default() += 1;
            counts.wall += outcome.usage.wall;
            counts.cpu += outcome.usage.cpu();
            counts.output_bytes += outcome.stdout.total_bytes + outcome.stderr.total_bytes;
        }
    }
}
