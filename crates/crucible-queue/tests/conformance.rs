//! The queues do what every queue must, also through pointers and wrappers.

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
mod durable {
    use crucible_kv::testing::MemoryBackend;
    use crucible_kv::{Durability, Store};
    use crucible_queue::{DurableQueue, DurableQueueOptions};

    use super::{CAPACITY, queue_conformance};

    #[expect(clippy::unwrap_used, reason = "without a queue there is nothing to test")]
    async fn queue() -> DurableQueue {
        let store = Store::open(MemoryBackend::new(), Durability::Buffered).unwrap();
        DurableQueue::open(&store, DurableQueueOptions::bounded(CAPACITY)).await.unwrap()
    }

    queue_conformance!(over_memory, || async { queue().await });
}
