//! A queue with intercepted calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_queue::MemoryQueue;

/// The effect on a call.
pub(crate) enum QueueIntercept {
    /// The call runs.
    PassThrough,
    /// The call returns this result and has no effect.
    Return(Result<(), QueueError>),
    /// The call never returns.
    Hang,
}

type Intercept = dyn Fn(&'static str) -> QueueIntercept + Send + Sync;

/// A queue that intercepts modifying calls by name.
pub(crate) struct InterceptedQueue {
    inner: Arc<MemoryQueue>,
    intercept: Box<Intercept>,
}

impl InterceptedQueue {
    pub(crate) fn new(
        inner: &Arc<MemoryQueue>,
        intercept: impl Fn(&'static str) -> QueueIntercept + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::clone(inner), intercept: Box::new(intercept) }
    }

    async fn call(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<(), QueueError>>,
    ) -> Result<(), QueueError> {
        match (self.intercept)(name) {
            QueueIntercept::PassThrough => call.await,
            QueueIntercept::Return(answer) => answer,
            QueueIntercept::Hang => std::future::pending().await,
        }
    }
}

impl fmt::Debug for InterceptedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedQueue").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pub(crate) fn queue_unavailable() -> QueueError {
    QueueError::Unavailable { source: "the network is down".into() }
}

#[async_trait]
impl Queue for InterceptedQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.call("enqueue", self.inner.enqueue(ticket)).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.inner.claim(worker, lease, wait).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.call("extend", self.inner.extend(claim, lease)).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.call("ack", self.inner.ack(claim)).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.call("nack", self.inner.nack(claim, delay)).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.inner.remove(evaluation).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.inner.stats().await
    }
}
