//! The conformance suite on all queues, also through pointers and wrappers.

use std::sync::Arc;

use crucible_conformance::queue::CAPACITY;
use crucible_conformance::queue_conformance;
use crucible_core::Queue;
use crucible_core::testing::{Faults, FaultyQueue};
use crucible_queue::MemoryQueue;

fn queue() -> MemoryQueue {
    MemoryQueue::bounded(CAPACITY)
}

queue_conformance!(memory, || async { queue() });
queue_conformance!(shared, || async { Arc::new(queue()) as Arc<dyn Queue> });
queue_conformance!(boxed, || async { Box::new(queue()) as Box<dyn Queue> });
queue_conformance!(without_faults, || async { FaultyQueue::new(queue(), Faults::none()) });

#[cfg(feature = "durable")]
#[path = "support/temporary_queue.rs"]
mod temporary_queue;

#[cfg(feature = "durable")]
mod durable {
    use crucible_kv::testing::MemoryBackend;
    use crucible_kv::{RedbBackend, SledBackend};

    use super::queue_conformance;
    use super::temporary_queue::TemporaryQueue;

    queue_conformance!(over_memory, || async {
        TemporaryQueue::open(|_| Ok(MemoryBackend::new())).await
    });
    queue_conformance!(over_redb, || async { TemporaryQueue::open(RedbBackend::open).await });
    queue_conformance!(over_sled, || async { TemporaryQueue::open(SledBackend::open).await });
}
