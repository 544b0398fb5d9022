//! The queue trait.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::error::QueueError;
use super::stats::QueueStats;
use super::ticket::{Claim, Ticket};
use crate::model::{EvaluationId, WorkerId};

/// The order in which workers run evaluations. The storage is the source of truth: a lost queue can
/// be rebuilt from it.
///
/// Within a priority, tenants take turns, and each tenant's tickets are first-in, first-out.
/// Tickets with a higher priority come first. Ageing prevents starvation: after a long enough wait,
/// a ticket comes before tickets with a higher priority.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// Adds a ticket to the queue.
    ///
    /// # Behavior
    /// - A worker can claim the ticket immediately.
    /// - A full queue refuses the ticket, and drops no other ticket.
    /// - A second ticket of a queued or claimed evaluation is a [`QueueError::Duplicate`], even if
    ///   the queue is full.
    ///
    /// # Cancel safety
    /// If the future is dropped, the ticket is either in the queue or not.
    ///
    /// # Errors
    /// Returns [`QueueError::Full`], [`QueueError::Duplicate`], or an error if the queue is
    /// unavailable.
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError>;

    /// Claims the next ticket under a lease; waits up to `wait` for a ticket.
    ///
    /// # Behavior
    /// - At most one worker holds a ticket at a time.
    /// - After its lease expired, a ticket can be claimed again, and its [`Claim::expired_leases`]
    ///   is one higher.
    /// - The result is `None` if no ticket became ready in time.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ticket. At worst, the ticket can be claimed again after the
    /// lease expired.
    ///
    /// # Errors
    /// Returns an error if the queue is unavailable.
    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError>;

    /// Renews the lease: it ends `lease` from now.
    ///
    /// # Behavior
    /// - While the lease is extended in time, no other worker can claim the ticket.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lease is either renewed or not.
    ///
    /// # Errors
    /// Returns [`QueueError::Lost`] if the claim has expired, or an error if the queue is
    /// unavailable.
    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError>;

    /// Acknowledges a claim: the work is done, and the queue removes the ticket.
    ///
    /// # Behavior
    /// - No worker can claim the ticket again.
    ///
    /// # Cancel safety
    /// If the future is dropped, the ticket is either removed or claimed.
    ///
    /// # Errors
    /// Returns [`QueueError::Lost`] if the claim has expired, or an error if the queue is
    /// unavailable.
    async fn ack(&self, claim: &Claim) -> Result<(), QueueError>;

    /// Returns a claim: its ticket can be claimed again after `delay`.
    ///
    /// # Behavior
    /// - A returned claim does not count as an expired lease, and a full queue accepts it.
    /// - No worker can claim the ticket before `delay` has passed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the ticket is either returned or claimed.
    ///
    /// # Errors
    /// Returns [`QueueError::Lost`] if the claim has expired, or an error if the queue is
    /// unavailable.
    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError>;

    /// Removes an evaluation's ready, delayed or claimed ticket; returns `false` if there was none.
    ///
    /// # Behavior
    /// - No worker can claim the ticket again, and a claim on it is lost.
    ///
    /// # Cancel safety
    /// If the future is dropped, the ticket is either removed or not.
    ///
    /// # Errors
    /// Returns an error if the queue is unavailable.
    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError>;

    /// Returns the queue's ticket counts and its capacity.
    ///
    /// # Behavior
    /// - Ready, delayed and claimed tickets are counted separately.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if the queue is unavailable.
    async fn stats(&self) -> Result<QueueStats, QueueError>;
}
