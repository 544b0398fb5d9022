//! A durable queue in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a helper may panic, as the test itself may")]

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use crucible_conformance::queue::CAPACITY;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_kv::{Backend, KvError, Store};
use crucible_queue::{DurableQueue, DurableQueueOptions};
use tempfile::TempDir;

/// A durable queue with its temporary directory.
#[derive(Debug)]
pub(crate) struct TemporaryQueue {
    queue: DurableQueue,
    // Declared after the queue, which keeps the files open.
    _directory: TempDir,
}

impl TemporaryQueue {
    /// Opens a queue with the strongest durability of the backend.
    pub(crate) async fn open<B: Backend>(open: impl FnOnce(PathBuf) -> Result<B, KvError>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let backend = open(directory.path().join("map")).unwrap();
        let strongest = backend.strongest();
        let store = Store::open(backend, strongest).unwrap();
        let queue =
            DurableQueue::open(&store, DurableQueueOptions::bounded(CAPACITY)).await.unwrap();
        Self { queue, _directory: directory }
    }
}

#[async_trait]
impl Queue for TemporaryQueue {
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
