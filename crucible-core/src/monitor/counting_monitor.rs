//! A monitor that counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::monitors::Monitor;
use crate::journal::{Event, EventKind};

/// What a [`CountingMonitor`] monitor has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MonitorCounts {
    /// Events by their wire name: `submitted`, `started`, `finished` and so on.
    pub events: BTreeMap<&'static str, u64>,
    /// Verdicts by their wire name, a limit's with its name: `exited`, `limit_exceeded memory`.
    pub verdicts: BTreeMap<String, u64>,
    /// Wall time of all runs that came to an outcome.
    pub wall: Duration,
    /// CPU time of all runs that came to an outcome.
    pub cpu: Duration,
    /// Bytes that programs wrote.
    pub output_bytes: u64,
}

impl MonitorCounts {
    /// How many events of this wire name there were.
    #[must_use]
    pub fn event(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    /// How many verdicts of this name there were.
    #[must_use]
    pub fn verdict(&self, name: &str) -> u64 {
        self.verdicts.get(name).copied().unwrap_or(0)
    }
}

/// Counts events, verdicts and usage in this process. For tests, status pages and exporters.
#[derive(Debug, Default)]
pub struct CountingMonitor(Mutex<MonitorCounts>);

impl CountingMonitor {
    /// CountingMonitor at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> MonitorCounts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, MonitorCounts> {
        // Counting cannot be left half done: a panic elsewhere does not spoil the counts.
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
