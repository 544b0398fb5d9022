//! Counting what a command writes.

use std::sync::atomic::{AtomicU64, Ordering};

use crucible_core::Evidence;
use tokio::sync::Notify;

/// Counts the bytes of both output streams together, against their limit.
#[derive(Debug)]
pub struct Meter {
    bytes: AtomicU64,
    limit: u64,
    exceeded: Notify,
}

impl Meter {
    /// Nothing has been written yet.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { bytes: AtomicU64::new(0), limit, exceeded: Notify::new() }
    }

    /// So many bytes more.
    pub fn add(&self, count: usize) {
        let before = self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        if before <= self.limit && before.saturating_add(count as u64) > self.limit {
            // One permit is kept for whoever comes to wait.
            self.exceeded.notify_one();
        }
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most that may be written.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether there is more than may be.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.bytes() > self.limit
    }

    /// Waits until there is more than the limit.
    ///
    /// # Cancel safety
    /// Whoever drops the future can wait again.
    pub async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// What was counted, as evidence.
    #[must_use]
    pub fn proof(&self) -> Evidence {
        Evidence::OutputBytes { bytes: self.bytes(), limit_bytes: self.limit }
    }
}
