//! The durable queue compared with the model. The test controls its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{
    Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, Timestamp, WorkerId,
};
use crucible_kv::testing::MemoryBackend;
use crucible_kv::{Durability, Store};
use crucible_queue::{DurableQueue, DurableQueueOptions};
use proptest::prelude::*;

use super::{AGEING, CAPACITY, TestedQueue, check, op};

/// A durable queue that the test can open again.
#[derive(Debug)]
struct ReopenableQueue {
    queue: DurableQueue,
    store: Store,
    disk: MemoryBackend,
    /// Microseconds.
    clock: Arc<AtomicU64>,
}

impl ReopenableQueue {
    async fn open(disk: MemoryBackend, clock: Arc<AtomicU64>) -> Self {
        let store = Store::open(disk.clone(), Durability::Buffered).unwrap();
        let time = Arc::clone(&clock);
        let options = DurableQueueOptions::bounded(CAPACITY as u64)
            .with_ageing(Duration::from_millis(AGEING))
            .with_clock(move || Timestamp::from_micros(time.load(Ordering::Relaxed)));
        let queue = DurableQueue::open(&store, options).await.unwrap();
        assert_eq!(queue.corrupt(), []);
        Self { queue, store, disk, clock }
    }
}

impl TestedQueue for ReopenableQueue {
    const IS_DURABLE: bool = true;

    async fn reopen(self, orderly: bool) -> Self {
        let Self { queue, store, disk, clock } = self;
        if orderly {
            queue.close().await.unwrap();
        }
        drop(queue);
        // Commit all submitted writes. The crash tests cover the loss of such writes.
        store.close().await.unwrap();
        Self::open(disk, clock).await
    }

    async fn advance(&self, time: Duration) {
        self.clock.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
        tokio::time::advance(time).await;
    }
}

#[async_trait]
impl Queue for ReopenableQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.queue.enqueue(ticket).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.queue.claim(worker, lease, wait).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.queue.extend(claim, lease).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.queue.ack(claim).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.queue.nack(claim, delay).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.queue.remove(evaluation).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.queue.stats().await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn random_calls_to_durable_queue_match_model(
        ops in proptest::collection::vec(op(), 1..120)
    ) {
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let open = async || ReopenableQueue::open(MemoryBackend::new(), clock).await;
        check(open, ops);
    }
}
