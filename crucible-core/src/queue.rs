//! What to do next: tickets, claims, and the queue that hands them out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::engine::error::BoxError;
use crate::model::evaluation::Priority;
use crate::model::id::{ClaimId, EvaluationId, WorkerId};

/// A place in the queue: which evaluation, how urgent, on whose behalf. Everything else is in the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ticket {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// How urgent it is.
    pub priority: Priority,
    /// On whose behalf it runs.
    pub tenant: String,
}

impl Ticket {
    /// A ticket.
    #[must_use]
    pub fn new(evaluation: EvaluationId, priority: Priority, tenant: impl Into<String>) -> Self {
        Self { evaluation, priority, tenant: tenant.into() }
    }
}

/// A leased right to run one evaluation once.
///
/// Who does not extend it in time loses it: the ticket is handed out again, and whatever the old holder asks of the
/// queue is answered with [`QueueError::Lost`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Tells this claim from every other, of the same ticket too.
    pub id: ClaimId,
    /// The ticket.
    pub ticket: Ticket,
    /// Who holds it.
    pub worker: WorkerId,
    /// How many holders lost this ticket before, by letting their lease run out. Giving a claim back does not count.
    pub expired_leases: u32,
    /// How long the ticket had been ready before it was handed out.
    pub waited: Duration,
}

impl Claim {
    /// A claim.
    #[must_use]
    pub fn new(
        id: ClaimId,
        ticket: Ticket,
        worker: WorkerId,
        expired_leases: u32,
        waited: Duration,
    ) -> Self {
        Self { id, ticket, worker, expired_leases, waited }
    }
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// Tickets that can be claimed now.
    pub ready: u64,
    /// Tickets that wait for their delay to pass.
    pub delayed: u64,
    /// Tickets that somebody holds.
    pub claimed: u64,
    /// The most tickets that may be ready or delayed; `None` if there is no bound.
    pub capacity: Option<u64>,
}

impl QueueStats {
    /// A count.
    #[must_use]
    pub fn new(ready: u64, delayed: u64, claimed: u64, capacity: Option<u64>) -> Self {
        Self { ready, delayed, claimed, capacity }
    }

    /// Tickets that wait, ready or delayed: what is held against the capacity.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.ready.saturating_add(self.delayed)
    }

    /// Whether another ticket would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.depth() >= capacity)
    }
}

/// The kinds of [`QueueError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// There is no room.
    Full,
    /// The ticket is already in the queue.
    Duplicate,
    /// The claim is no longer held.
    Lost,
    /// What the queue stands on is away.
    Unavailable,
    /// The queue refuses to work after damage.
    Poisoned,
}

/// What can go wrong with a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no room: come back later.
    #[error("the queue is full: {depth} tickets wait, {capacity} may")]
    Full {
        /// How many tickets wait.
        depth: u64,
        /// How many may.
        capacity: u64,
    },
    /// The ticket is already in the queue.
    #[error("evaluation {evaluation} is already in the queue")]
    Duplicate {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// The claim is no longer held: its lease ran out, or its ticket was removed.
    #[error("the claim on evaluation {evaluation} is lost")]
    Lost {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// What the queue stands on is away; it may come back.
    #[error("the queue is not available")]
    Unavailable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The queue refuses to work after damage.
    #[error("the queue is poisoned: {reason}")]
    Poisoned {
        /// What was damaged.
        reason: String,
    },
}

impl QueueError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> QueueErrorKind {
        match self {
            Self::Full { .. } => QueueErrorKind::Full,
            Self::Duplicate { .. } => QueueErrorKind::Duplicate,
            Self::Lost { .. } => QueueErrorKind::Lost,
            Self::Unavailable { .. } => QueueErrorKind::Unavailable,
            Self::Poisoned { .. } => QueueErrorKind::Poisoned,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), QueueErrorKind::Full | QueueErrorKind::Unavailable)
    }
}

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
