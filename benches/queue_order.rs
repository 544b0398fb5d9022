//! The time to take the next ticket from a queue with 100,000 waiting tickets.

#![expect(clippy::expect_used, reason = "a failed step invalidates the benchmark")]

use std::time::Duration;

use criterion::Criterion;
use crucible_core::{EvaluationId, Priority, Queue as _, Ticket, WorkerId};
use crucible_queue::MemoryQueue;
use tokio::runtime::{Builder, Runtime};

/// The number of waiting tickets.
const TICKETS: usize = 100_000;
/// The number of tenants that take turns.
const TENANTS: usize = 100;
const LEASE: Duration = Duration::from_secs(60);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let queue = filled_queue(&runtime);
    claim_ack_enqueue(&mut criterion, &runtime, &queue);
    criterion.final_summary();
}

/// Measures one claim, one acknowledgement and one new ticket, so that the depth stays the same.
fn claim_ack_enqueue(criterion: &mut Criterion, runtime: &Runtime, queue: &MemoryQueue) {
    let worker = WorkerId::new("bench");
    criterion.bench_function("queue_order/claim_ack_enqueue", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let claim = queue.claim(&worker, LEASE, Duration::ZERO).await.expect("the queue works");
            let claim = claim.expect("a ticket waits");
            queue.ack(&claim).await.expect("the claim is held");
            let Ticket { priority, tenant, .. } = claim.ticket;
            let next = Ticket::new(EvaluationId::new(), priority, tenant);
            queue.enqueue(next).await.expect("the queue has room");
        });
    });
}

/// Returns a queue with tickets of all priorities and of many tenants.
fn filled_queue(runtime: &Runtime) -> MemoryQueue {
    let queue = MemoryQueue::bounded(TICKETS as u64 + 1);
    runtime.block_on(async {
        for (index, priority) in (0..TICKETS).zip(Priority::ALL.into_iter().cycle()) {
            let tenant = format!("tenant-{}", index % TENANTS);
            let ticket = Ticket::new(EvaluationId::new(), priority, tenant);
            queue.enqueue(ticket).await.expect("the queue has room");
        }
    });
    queue
}
