//! A queue in this process.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};

use crate::desk::Desk;
use crate::state::{AGEING, State};

/// A bounded queue in this process's memory.
///
/// Of two tickets, the one that is a priority more urgent comes first unless the other has waited 30 s longer; a ticket
/// that overcomes more urgent ones by its age comes out whoever's turn it is. So no ticket waits for ever, however many
/// more urgent ones keep coming.
///
/// A ticket that comes back, because a lease ran out or a delay has passed or a claim was given back, is its tenant's
/// newest.
///
/// Its clock is tokio's: where that is paused, so are leases and delays.
pub struct MemoryQueue {
    desk: Desk<()>,
}

impl MemoryQueue {
    /// A queue in which at most `capacity` tickets may wait, ready or delayed. Tickets that somebody holds do not count,
    /// and one that is given back is taken whatever the depth.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { desk: Desk::new(State::new(capacity, AGEING), ()) }
    }

    /// Sets how much longer than a ticket that is one priority more urgent a ticket must have waited to come before it:
    /// 30 s by default. [`Duration::MAX`] lets the more urgent always come first, so that others may wait for ever;
    /// [`Duration::ZERO`] lets the oldest always come first.
    #[must_use]
    pub fn with_ageing(self, step: Duration) -> Self {
        self.desk.act(|state, (), _| state.ageing = step);
        self
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.desk.act(|state, (), now| state.enqueue(ticket, now))
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        Ok(self.desk.claim(worker, lease, wait).await)
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.desk.act(|state, (), now| state.extend(claim, lease, now))
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.desk.act(|state, (), _| state.ack(claim))
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.desk.act(|state, (), now| state.nack(claim, delay, now))
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        Ok(self.desk.act(|state, (), _| state.remove(evaluation)))
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(self.desk.act(|state, (), _| state.stats()))
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("desk", &self.desk).finish()
    }
}
