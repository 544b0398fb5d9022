//! A queue that fails on purpose.

use std::time::Duration;

use async_trait::async_trait;

use super::faults::{Faults, InjectedFault};
use crate::model::{EvaluationId, WorkerId};
use crate::queue::{Claim, Queue, QueueError, QueueStats, Ticket};

/// A queue whose calls fail as [`Faults`] say, with [`QueueError::Unavailable`].
#[derive(Debug, Clone)]
pub struct FaultyQueue<Q> {
    inner: Q,
    faults: Faults,
}

impl<Q> FaultyQueue<Q> {
    /// Wraps a queue.
    #[must_use]
    pub fn new(inner: Q, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

fn away(fault: InjectedFault) -> QueueError {
    QueueError::Unavailable { source: fault.into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<Q: Queue> Queue for FaultyQueue<Q> {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.faults.call(self.inner.enqueue(ticket), away).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.faults.call(self.inner.claim(worker, lease, wait), away).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.faults.call(self.inner.extend(claim, lease), away).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.faults.call(self.inner.ack(claim), away).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.faults.call(self.inner.nack(claim, delay), away).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.faults.call(self.inner.remove(evaluation), away).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.faults.call(self.inner.stats(), away).await
    }
}
