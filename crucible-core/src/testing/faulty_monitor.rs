//! A monitor that panics on purpose.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::Event;
use crate::monitor::Monitor;

/// A monitor that panics at every event from the n-th on.
#[derive(Debug, Default)]
pub struct FaultyMonitor {
    from: u64,
    seen: AtomicU64,
}

impl FaultyMonitor {
    /// Panics at the `from`-th event, counted from 1, and at every one after it.
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
