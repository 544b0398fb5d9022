//! What to do next: tickets, claims, and the queue that hands them out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::error::QueueError;
use super::stats::QueueStats;
use super::ticket::{Claim, Ticket};
use crate::model::{EvaluationId, WorkerId};

/// Says what to do next. The truth is in the storage: a queue can be lost and made again from it.
///
/// Within a priority, tenants take turns and each tenant's tickets are first-in, first-out. A more urgent ticket comes
/// first, but none waits for ever: a ticket that has waited long enough is handed out before more urgent ones.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// Puts a ticket into the queue.
    ///
    /// # Behavior
    /// - The ticket can be claimed at once.
    /// - A queue that is full refuses, and nothing is dropped to make room.
    /// - A ticket of an evaluation that is already queued or claimed is refused as such, also where the queue is full.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ticket either in the queue or not.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::Duplicate`], or the queue is away.
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError>;

    /// Takes the next ticket under a lease; waits up to `wait` for one.
    ///
    /// # Behavior
    /// - A ticket has one holder at a time.
    /// - A ticket whose lease ran out can be claimed again, and its count of expired_leases is one higher.
    /// - `None` means that no ticket came in time.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ticket: at worst it can be claimed again when its lease has run out.
    ///
    /// # Errors
    /// The queue is away.
    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError>;

    /// Renews the lease: it ends `lease` from now.
    ///
    /// # Behavior
    /// - A claim that was extended in time is not handed out to another.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lease either renewed or not.
    ///
    /// # Errors
    /// [`QueueError::Lost`] if the claim is no longer held, or the queue is away.
    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError>;

    /// Ends a claim: the work is done, the ticket is gone.
    ///
    /// # Behavior
    /// - The ticket is not handed out again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ticket either gone or claimed.
    ///
    /// # Errors
    /// [`QueueError::Lost`] if the claim is no longer held, or the queue is away.
    async fn ack(&self, claim: &Claim) -> Result<(), QueueError>;

    /// Gives a claim back: its ticket can be claimed again after `delay`.
    ///
    /// # Behavior
    /// - It does not count as a death, and it is never refused for lack of room.
    /// - The ticket is not handed out before `delay` has passed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ticket either given back or claimed.
    ///
    /// # Errors
    /// [`QueueError::Lost`] if the claim is no longer held, or the queue is away.
    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError>;

    /// Removes an evaluation's ticket, waiting, delayed or claimed. `false` if there was none.
    ///
    /// # Behavior
    /// - The ticket is not handed out again, and a claim on it is lost.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ticket either removed or not.
    ///
    /// # Errors
    /// The queue is away.
    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError>;

    /// How full the queue is.
    ///
    /// # Behavior
    /// - Ready, delayed and claimed tickets are told apart.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// The queue is away.
    async fn stats(&self) -> Result<QueueStats, QueueError>;
}
