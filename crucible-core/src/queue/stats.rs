//! Counts of a queue's tickets.

use serde::{Deserialize, Serialize};

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// Tickets that can be claimed now.
    pub ready: u64,
    /// Tickets that wait for their delay to pass.
    pub delayed: u64,
    /// Tickets that somebody holds.
    pub claimed: u64,
    /// The most tickets that may be ready or delayed; `None` if there is no bound.
    pub capacity: Option<u64>,
}

impl QueueStats {
    /// A count.
    #[must_use]
    pub fn new(ready: u64, delayed: u64, claimed: u64, capacity: Option<u64>) -> Self {
        Self { ready, delayed, claimed, capacity }
    }

    /// Tickets that wait, ready or delayed: what is held against the capacity.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.ready.saturating_add(self.delayed)
    }

    /// Whether another ticket would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.depth() >= capacity)
    }
}
