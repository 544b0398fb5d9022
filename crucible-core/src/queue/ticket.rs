//! Tickets and claims.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ClaimId, EvaluationId, Priority, WorkerId};

/// A queued evaluation: its id, its priority and its tenant. The storage has everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ticket {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The priority.
    pub priority: Priority,
    /// The tenant.
    pub tenant: String,
}

impl Ticket {
    /// Creates a ticket.
    #[must_use]
    pub fn new(evaluation: EvaluationId, priority: Priority, tenant: impl Into<String>) -> Self {
        Self { evaluation, priority, tenant: tenant.into() }
    }
}

/// A leased right to run one evaluation once.
///
/// If the lease expires, the queue hands the ticket to another worker. Each later request with the
/// expired claim fails with [`QueueError::Lost`](crate::QueueError::Lost).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The unique id of this claim. Another claim on the same ticket has another id.
    pub id: ClaimId,
    /// The ticket.
    pub ticket: Ticket,
    /// The worker that holds the claim.
    pub worker: WorkerId,
    /// The number of earlier claims on this ticket whose lease expired. A returned claim does not
    /// count.
    pub expired_leases: u32,
    /// The time from the ticket being ready to the claim.
    pub waited: Duration,
}

impl Claim {
    /// Creates a claim.
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
