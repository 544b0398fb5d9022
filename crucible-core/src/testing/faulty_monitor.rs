//! A monitor with injected panics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::Event;
use crate::monitor::Monitor;

/// A monitor that panics at every event from a given one on.
#[derive(Debug, Default)]
pub struct FaultyMonitor {
    from: u64,
    seen: AtomicU64,
}

impl FaultyMonitor {
    /// Creates a monitor that panics at event `from`, counted from 1, and at every later event.
    #[must_use]
    pub fn panics_from(from: u64) -> Self {
        Self { from, seen: AtomicU64::new(0) }
    }
}

impl Monitor for FaultyMonitor {
    fn observe(&self, _event: &Event) {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number < self.from, "injected panic at event {number}");
    }
}
