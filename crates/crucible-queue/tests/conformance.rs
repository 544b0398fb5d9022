//! The queue does what every queue must, also through pointers and wrappers.

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
