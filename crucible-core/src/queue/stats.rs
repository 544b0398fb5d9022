//! Ticket counts of a queue.

use serde::{Deserialize, Serialize};

/// The ticket counts and the capacity of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// The number of tickets that a worker can claim now.
    pub ready: u64,
    /// The number of tickets whose delay has not passed.
    pub delayed: u64,
    /// The number of tickets that workers hold.
    pub claimed: u64,
    /// The maximum of ready and delayed tickets together; `None` if the queue is unbounded.
    pub capacity: Option<u64>,
}

impl QueueStats {
    /// Creates the counts.
    #[must_use]
    pub fn new(ready: u64, delayed: u64, claimed: u64, capacity: Option<u64>) -> Self {
        Self { ready, delayed, claimed, capacity }
    }

    /// Returns the number of waiting tickets, ready or delayed. The capacity limits this number.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.ready.saturating_add(self.delayed)
    }

    /// Returns `true` if the queue refuses another ticket.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.depth() >= capacity)
    }
}
