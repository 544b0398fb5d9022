//! Options of a durable queue.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::Timestamp;

use crate::ticket_table::AGEING;

/// Options of a [`DurableQueue`](crate::DurableQueue). The store does not contain them, so they can
/// differ at every opening.
#[derive(Clone)]
#[non_exhaustive]
pub struct DurableQueueOptions {
    pub(super) capacity: u64,
    pub(super) ageing: Duration,
    pub(super) is_restored: bool,
    pub(super) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl DurableQueueOptions {
    /// Returns options for at most `capacity` waiting tickets, ready or delayed. Claimed tickets do
    /// not count, and a released ticket is always accepted.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { capacity, ageing: AGEING, is_restored: false, clock: Arc::new(Timestamp::now) }
    }

    /// Sets the waiting time that outweighs one priority level, as
    /// [`MemoryQueue::with_ageing`](crate::MemoryQueue::with_ageing) does.
    #[must_use]
    pub fn with_ageing(mut self, step: Duration) -> Self {
        self.ageing = step;
        self
    }

    /// Declares that the host restores tickets from its storage after every opening.
    ///
    /// The host then enqueues missing tickets and drops tickets of ended evaluations, as
    /// [`Crucible::recover`](crucible_core::Crucible::recover) does. With this option, `enqueue`,
    /// `ack` and `remove` return before their write is durable, as `claim` always does. A submit
    /// then waits for one flush, that of the storage, instead of two.
    #[must_use]
    pub fn restored_from_storage(mut self) -> Self {
        self.is_restored = true;
        self
    }

    /// Sets the clock that measures the time between two processes; by default the system clock.
    /// Within a process, leases and delays use tokio's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for DurableQueueOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableQueueOptions")
            .field("capacity", &self.capacity)
            .field("ageing", &self.ageing)
            .field("is_restored", &self.is_restored)
            .finish_non_exhaustive()
    }
}
