//! A queue with injected faults.

use std::time::Duration;

use async_trait::async_trait;

use super::faults::{Faults, InjectedFault};
use crate::model::{EvaluationId, WorkerId};
use crate::queue::{Claim, Queue, QueueError, QueueStats, Ticket};

/// A queue that fails with [`QueueError::Unavailable`] according to a plan.
#[derive(Debug, Clone)]
pub struct FaultyQueue<Q> {
    inner: Q,
    faults: Faults,
}

impl<Q> FaultyQueue<Q> {
    /// Wraps a queue with a plan.
    #[must_use]
    pub fn new(inner: Q, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

fn unavailable(fault: InjectedFault) -> QueueError {
    QueueError::Unavailable { source: fault.into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<Q: Queue> Queue for FaultyQueue<Q> {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.faults.call(self.inner.enqueue(ticket), unavailable).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.faults.call(self.inner.claim(worker, lease, wait), unavailable).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.faults.call(self.inner.extend(claim, lease), unavailable).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.faults.call(self.inner.ack(claim), unavailable).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.faults.call(self.inner.nack(claim, delay), unavailable).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.faults.call(self.inner.remove(evaluation), unavailable).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.faults.call(self.inner.stats(), unavailable).await
    }
}
