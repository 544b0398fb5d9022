//! A queue in which single kinds of calls go wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_queue::MemoryQueue;

/// What is done in place of a call.
pub(crate) enum Instead {
    /// Nothing: the call goes through.
    Nothing,
    /// It is answered with this.
    Answer(Result<(), QueueError>),
    /// It never comes back.
    Hang,
}

type Tamper = dyn Fn(&'static str) -> Instead + Send + Sync;

/// A queue of which calls that change something can be tampered with, by name.
pub(crate) struct TamperedQueue {
    inner: Arc<MemoryQueue>,
    tamper: Box<Tamper>,
}

impl TamperedQueue {
    pub(crate) fn new(
        inner: &Arc<MemoryQueue>,
        tamper: impl Fn(&'static str) -> Instead + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::clone(inner), tamper: Box::new(tamper) }
    }

    async fn call(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<(), QueueError>>,
    ) -> Result<(), QueueError> {
        match (self.tamper)(name) {
            Instead::Nothing => call.await,
            Instead::Answer(answer) => answer,
            Instead::Hang => std::future::pending().await,
        }
    }
}

impl fmt::Debug for TamperedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TamperedQueue").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pub(crate) fn away() -> QueueError {
    QueueError::Unavailable { source: "the network is down".into() }
}

#[async_trait]
impl Queue for TamperedQueue {
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
