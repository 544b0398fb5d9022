//! A queue in memory.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};

use crate::dispatcher::Dispatcher;
use crate::ticket_table::{AGEING, TicketTable};

/// A bounded queue in the memory of this process.
///
/// A ticket comes before a ticket of the next lower priority, unless the latter has waited 30 s
/// longer. A ticket that comes first by its age is handed out regardless of tenant turns. No ticket
/// therefore waits forever, however many tickets of higher priority arrive.
///
/// A ticket that returns, because its lease expired, its delay passed or its claim was released, is
/// its tenant's newest ticket.
///
/// The queue uses tokio's clock. If that clock is paused, leases and delays are paused as well.
pub struct MemoryQueue {
    dispatcher: Dispatcher<()>,
}

impl MemoryQueue {
    /// Creates a queue with at most `capacity` waiting tickets, ready or delayed. Claimed tickets
    /// do not count, and a released ticket is always accepted.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        Self { dispatcher: Dispatcher::new(TicketTable::new(capacity, AGEING), ()) }
    }

    /// Sets the waiting time that outweighs one priority level, 30 s by default. With
    /// [`Duration::MAX`], higher priorities always come first, and other tickets may wait forever.
    /// With [`Duration::ZERO`], the oldest ticket always comes first.
    #[must_use]
    pub fn with_ageing(self, step: Duration) -> Self {
        self.dispatcher.update(|tickets, (), _| tickets.ageing = step);
        self
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.dispatcher.update(|tickets, (), now| tickets.enqueue(ticket, now))
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        Ok(self.dispatcher.claim(worker, lease, wait).await)
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.dispatcher.update(|tickets, (), now| tickets.extend(claim, lease, now))
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.dispatcher.update(|tickets, (), _| tickets.ack(claim))
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.dispatcher.update(|tickets, (), now| tickets.nack(claim, delay, now))
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        Ok(self.dispatcher.update(|tickets, (), _| tickets.remove(evaluation)))
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(self.dispatcher.update(|tickets, (), _| tickets.stats()))
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("dispatcher", &self.dispatcher).finish()
    }
}
