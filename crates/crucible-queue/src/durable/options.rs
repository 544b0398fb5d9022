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
    pub(super) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl DurableQueueOptions {
    /// A queue in which at most `capacity` tickets may wait, ready or delayed. Tickets that somebody holds do not count,
    /// and one that is given back is taken whatever the depth.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { capacity, ageing: AGEING, clock: Arc::new(Timestamp::now) }
    }

    /// As [`MemoryQueue::with_ageing`](crate::MemoryQueue::with_ageing).
    #[must_use]
    pub fn with_ageing(mut self, step: Duration) -> Self {
        self.ageing = step;
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
            .finish_non_exhaustive()
    }
}
