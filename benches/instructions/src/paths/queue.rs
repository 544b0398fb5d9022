//! The memory queue.

use std::time::Duration;

use crucible_core::{EvaluationId, Priority, Queue as _, Ticket};
use crucible_queue::MemoryQueue;

use super::{Step, platform, sample};

const LEASE: Duration = Duration::from_secs(30);

pub(super) fn cycle(steps: usize) -> Step {
    let runtime = platform::runtime();
    let (queue, worker) = (MemoryQueue::bounded(100), sample::worker());
    let mut tickets: Vec<_> = (0..steps)
        .map(|_| Ticket::new(EvaluationId::new(), Priority::default(), "tenant-1"))
        .collect();
    Box::new(move || {
        let ticket = tickets.pop().expect("a ticket for each step");
        runtime.block_on(async {
            queue.enqueue(ticket).await.expect("it is queued");
            let claim = queue
                .claim(&worker, LEASE, Duration::ZERO)
                .await
                .expect("a queue")
                .expect("a claim");
            queue.ack(&claim).await.expect("it is settled");
        });
    })
}
