//! The stored form of a ticket.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{ClaimId, EvaluationId, Ticket, Timestamp};
use crucible_kv::{verify_checksum, write_with_checksum};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::clock_reading::ClockReading;
use crate::ticket_status::{SnapshotStatus, TicketSnapshot, after};

/// The expected length of an encoded ticket.
const ENCODED_BYTES: usize = 512;

/// A ticket with its status at the time of the write.
///
/// Times are stored relative to the time of the write. The system clock may be set while no process
/// has the queue. The error is then at most the change of the clock, and no delay becomes longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredTicket {
    pub(super) ticket: Ticket,
    pub(super) expired_leases: u32,
    /// The sequence number of the last status change.
    #[serde(rename = "number")]
    pub(super) sequence: u64,
    #[serde(rename = "written_us")]
    written: Timestamp,
    #[serde(rename = "stands")]
    status: StoredStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStatus {
    /// Ready, and the time since then.
    Ready { for_us: u64 },
    /// Delayed, and the remaining delay.
    Delayed { for_us: u64 },
    /// Claimed, and the remaining lease.
    Claimed { claim: ClaimId, for_us: u64 },
}

impl StoredTicket {
    pub(super) fn of(snapshot: &TicketSnapshot<'_>, now: ClockReading) -> Self {
        let age = |since: Instant| micros(now.instant.saturating_duration_since(since));
        let remaining = |until: Instant| micros(until.saturating_duration_since(now.instant));
        let status = match snapshot.status {
            SnapshotStatus::Ready { since } => StoredStatus::Ready { for_us: age(since) },
            SnapshotStatus::Delayed { until } => StoredStatus::Delayed { for_us: remaining(until) },
            SnapshotStatus::Claimed { claim, until } => {
                StoredStatus::Claimed { claim, for_us: remaining(until) }
            }
        };
        Self {
            ticket: snapshot.ticket.clone(),
            expired_leases: snapshot.expired_leases,
            sequence: snapshot.sequence,
            written: now.time,
            status,
        }
    }

    /// Returns the status now, based on the system time that has passed since the write.
    pub(super) fn status(&self, now: ClockReading) -> SnapshotStatus {
        let passed = now.time.saturating_since(self.written);
        let until =
            |micros: u64| after(now.instant, Duration::from_micros(micros).saturating_sub(passed));
        match self.status {
            StoredStatus::Ready { for_us } => {
                let age = Duration::from_micros(for_us).saturating_add(passed);
                SnapshotStatus::Ready { since: now.instant.checked_sub(age).unwrap_or(now.instant) }
            }
            StoredStatus::Delayed { for_us } => SnapshotStatus::Delayed { until: until(for_us) },
            StoredStatus::Claimed { claim, for_us } => {
                SnapshotStatus::Claimed { claim, until: until(for_us) }
            }
        }
    }

    /// Returns the value for a key.
    pub(super) fn encode(&self, key: &[u8]) -> Result<Bytes, serde_json::Error> {
        write_with_checksum(key, ENCODED_BYTES, |value| serde_json::to_writer(value, self))
    }

    /// Decodes a value. Returns `None` if it is corrupt or belongs to another evaluation.
    pub(super) fn decode(evaluation: EvaluationId, key: &[u8], value: &Bytes) -> Option<Self> {
        let stored: Self = serde_json::from_slice(&verify_checksum(key, value)?).ok()?;
        (stored.ticket.evaluation == evaluation).then_some(stored)
    }
}

/// Returns a duration in microseconds. The result is exact, because leases and delays are limited
/// to 100 years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
