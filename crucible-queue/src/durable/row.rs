//! A ticket as it is kept.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{ClaimId, EvaluationId, Ticket, Timestamp};
use crucible_kv::{seal_written, unseal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::state::{Place, Standing, after};

/// What most rows have room in.
const ROOM: usize = 512;

/// One moment on both clocks: the one that leases and delays run on, and the one that a process leaves to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    pub(super) instant: Instant,
    pub(super) time: Timestamp,
}

/// A ticket as it stands at a moment.
///
/// What is kept of a time is how far it is from the moment of writing, so that a clock that is set makes an error of as much
/// as it was set by while nobody worked, and never more: a delay is at most as long again as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) ticket: Ticket,
    pub(super) expired_leases: u32,
    /// Higher than that of every ticket that came to stand as it does before.
    pub(super) number: u64,
    #[serde(rename = "written_us")]
    written: Timestamp,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stands {
    /// It has been ready for so long.
    Ready { for_us: u64 },
    /// It will be ready in so long.
    Delayed { for_us: u64 },
    /// Its lease ends in so long.
    Claimed { claim: ClaimId, for_us: u64 },
}

impl Row {
    pub(super) fn of(standing: &Standing<'_>, now: Generation) -> Self {
        let since = |instant: Instant| micros(now.instant.saturating_duration_since(instant));
        let until = |instant: Instant| micros(instant.saturating_duration_since(now.instant));
        let stands = match standing.place {
            Place::Ready { since: instant } => Stands::Ready { for_us: since(instant) },
            Place::Delayed { until: instant } => Stands::Delayed { for_us: until(instant) },
            Place::Claimed { claim, until: instant } => {
                Stands::Claimed { claim, for_us: until(instant) }
            }
        };
        Self {
            ticket: standing.ticket.clone(),
            expired_leases: standing.expired_leases,
            number: standing.number,
            written: now.time,
            stands,
        }
    }

    /// Where the ticket stands now, by the clock that has gone on since it was written.
    pub(super) fn place(&self, now: Generation) -> Place {
        let passed = now.time.saturating_since(self.written);
        let left =
            |micros: u64| after(now.instant, Duration::from_micros(micros).saturating_sub(passed));
        match self.stands {
            Stands::Ready { for_us } => {
                let age = Duration::from_micros(for_us).saturating_add(passed);
                Place::Ready { since: now.instant.checked_sub(age).unwrap_or(now.instant) }
            }
            Stands::Delayed { for_us } => Place::Delayed { until: left(for_us) },
            Stands::Claimed { claim, for_us } => Place::Claimed { claim, until: left(for_us) },
        }
    }

    pub(super) fn encode(&self, key: &[u8]) -> Result<Bytes, serde_json::Error> {
        seal_written(key, ROOM, |value| serde_json::to_writer(value, self))
    }

    /// `None` if the value is not what was written, or not this evaluation's.
    pub(super) fn decode(evaluation: EvaluationId, key: &[u8], value: &Bytes) -> Option<Self> {
        let row: Self = serde_json::from_slice(&unseal(key, value)?).ok()?;
        (row.ticket.evaluation == evaluation).then_some(row)
    }
}

/// No lease and no delay is longer than a hundred years, so this is exact.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
