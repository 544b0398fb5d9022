//! The status of a ticket.

use std::time::Duration;

use crucible_core::ClaimId;
#[cfg(feature = "durable")]
use crucible_core::Ticket;
use tokio::time::Instant;

use crate::priority_lane::LanePosition;

/// The longest lease or delay. It exceeds the life of every process and fits into an [`Instant`].
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The end of a lease or a delay, and a unique number that orders equal ends.
pub(crate) type Timer = (Instant, u64);

/// Returns the instant `duration` after `now`, limited to 100 years.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration.min(LONGEST)).unwrap_or(now)
}

/// The status of a ticket in a [`TicketTable`](crate::ticket_table::TicketTable).
#[derive(Debug, Clone, Copy)]
pub(crate) enum TicketStatus {
    Ready { position: LanePosition, since: Instant },
    Delayed { timer: Timer },
    Claimed { claim: ClaimId, timer: Timer },
}

/// A ticket with its status, for a copy outside the table.
#[cfg(feature = "durable")]
#[derive(Debug)]
pub(crate) struct TicketSnapshot<'a> {
    pub(crate) ticket: &'a Ticket,
    pub(crate) expired_leases: u32,
    /// The sequence number of the last status change. It is unique and ascending.
    pub(crate) sequence: u64,
    pub(crate) status: SnapshotStatus,
}

/// The status of a ticket without references into the table.
#[cfg(feature = "durable")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum SnapshotStatus {
    Ready { since: Instant },
    Delayed { until: Instant },
    Claimed { claim: ClaimId, until: Instant },
}

#[cfg(feature = "durable")]
impl TicketStatus {
    /// Returns the sequence number and the status for a snapshot.
    pub(crate) fn to_snapshot(self) -> (u64, SnapshotStatus) {
        match self {
            Self::Ready { position, since } => (position, SnapshotStatus::Ready { since }),
            Self::Delayed { timer: (until, sequence) } => {
                (sequence, SnapshotStatus::Delayed { until })
            }
            Self::Claimed { claim, timer: (until, sequence) } => {
                (sequence, SnapshotStatus::Claimed { claim, until })
            }
        }
    }

    /// Returns the status for a snapshot with a sequence number.
    pub(crate) fn of_snapshot(status: SnapshotStatus, sequence: u64) -> Self {
        match status {
            SnapshotStatus::Ready { since } => Self::Ready { position: sequence, since },
            SnapshotStatus::Delayed { until } => Self::Delayed { timer: (until, sequence) },
            SnapshotStatus::Claimed { claim, until } => {
                Self::Claimed { claim, timer: (until, sequence) }
            }
        }
    }
}
