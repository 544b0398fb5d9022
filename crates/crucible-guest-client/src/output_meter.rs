//! The byte count of a command's output.

use std::sync::atomic::{AtomicU64, Ordering};

use crucible_core::Evidence;
use tokio::sync::Notify;

/// Counts the bytes of both output streams together, against their limit.
#[derive(Debug)]
pub struct OutputMeter {
    bytes: AtomicU64,
    limit: u64,
    exceeded: Notify,
}

impl OutputMeter {
    /// Creates a meter that has counted nothing.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { bytes: AtomicU64::new(0), limit, exceeded: Notify::new() }
    }

    /// Adds `count` bytes.
    pub fn add(&self, count: usize) {
        let before = self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        if before <= self.limit && before.saturating_add(count as u64) > self.limit {
            // The permit is kept for a task that begins to wait later.
            self.exceeded.notify_one();
        }
    }

    /// Returns the number of bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns `true` if the limit is exceeded.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.bytes() > self.limit
    }

    /// Waits until the limit is exceeded.
    ///
    /// # Cancel safety
    /// After dropping the future the caller can wait again.
    pub async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// Returns the count as evidence.
    #[must_use]
    pub fn proof(&self) -> Evidence {
        Evidence::OutputBytes { bytes: self.bytes(), limit_bytes: self.limit }
    }
}
