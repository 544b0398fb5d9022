//! Tickets and claims.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ClaimId, EvaluationId, Priority, WorkerId};

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
