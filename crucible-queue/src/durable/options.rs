//! How a durable queue is to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::Timestamp;

use crate::state::AGEING;

/// How a [`DurableQueue`](crate::DurableQueue) is to be. Nothing of it is kept in the map: it can be another the next time.
#[derive(Clone)]
#[non_exhaustive]
pub struct DurableQueueOptions {
    pub(super) capacity: u64,
    pub(super) ageing: Duration,
    pub(super) is_restored: bool,
    pub(super) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl DurableQueueOptions {
    /// A queue in which at most `capacity` tickets may wait, ready or delayed. Tickets that somebody holds do not count,
    /// and one that is given back is taken whatever the depth.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { capacity, ageing: AGEING, is_restored: false, clock: Arc::new(Timestamp::now) }
    }

    /// As [`MemoryQueue::with_ageing`](crate::MemoryQueue::with_ageing).
    #[must_use]
    pub fn with_ageing(mut self, step: Duration) -> Self {
        self.ageing = step;
        self
    }

    /// Says that whoever opens the queue puts again the tickets that are missing, and expects some whose evaluation has ended,
    /// as [`Crucible::recover`](crucible_core::Crucible::recover) does. Then putting, ending and removing a ticket are
    /// written with whatever is written next, as handing one out is: what lasts is in the storage, and a submit waits for one
    /// flush, not for two.
    #[must_use]
    pub fn restored_from_storage(mut self) -> Self {
        self.is_restored = true;
        self
    }

    /// What tells how much time passes while no process has the queue: by default the system's clock. While one has it, leases
    /// and delays run on tokio's.
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
