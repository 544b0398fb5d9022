//! Reading and writing tickets in the store.

use bytes::Bytes;
use crucible_core::EvaluationId;
use crucible_kv::{KvError, Range, Transaction, layout_version};

use super::clock_reading::ClockReading;
use super::error::{QueueOpenError, TicketWriteError};
use super::keys;
use super::options::DurableQueueOptions;
use super::stored_ticket::StoredTicket;
use super::sync_state::SyncState;
use crate::dispatcher::Dispatcher;
use crate::ticket_status::SnapshotStatus;
use crate::ticket_table::TicketTable;

/// The version of the layout that [`keys`] and [`StoredTicket`] define.
///
/// A new version needs a migration from this one, and a fixture in the format of this one.
pub(super) const VERSION: u32 = 1;

/// The treatment of claims when tickets are read from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimPolicy {
    /// This process holds the claims.
    Keep,
    /// The process that held the claims has ended. Their tickets are ready, with one more expired
    /// lease.
    Expire,
}

/// The tickets of a store.
#[derive(Debug)]
pub(super) struct LoadedTickets {
    pub(super) table: TicketTable,
    /// The tickets that cannot be decoded. Loading removes them from the store.
    pub(super) corrupt: Vec<EvaluationId>,
}

/// Writes the current status of some tickets. Returns an error if the tickets were reloaded since
/// the caller changed them, because the reload has undone the change.
pub(super) fn write(
    map: &mut Transaction<'_>,
    dispatcher: &Dispatcher<SyncState>,
    tickets: &[EvaluationId],
    reloads: u64,
) -> Result<(), TicketWriteError> {
    let snapshots = dispatcher.inspect(|table, sync| {
        let stored = |id: &EvaluationId| {
            (*id, table.snapshot(*id).map(|snapshot| StoredTicket::of(&snapshot, sync.now)))
        };
        (sync.reloads == reloads).then(|| tickets.iter().map(stored).collect::<Vec<_>>())
    });
    // Encode outside the lock, so that claims do not wait. A concurrent change of one of these
    // tickets is written after this write.
    for (id, stored) in snapshots.ok_or(TicketWriteError::Reloaded)? {
        let key = keys::ticket(id);
        match stored {
            Some(stored) => {
                let value = stored.encode(&key).map_err(TicketWriteError::Encode)?;
                map.put(key, value);
            }
            None => map.delete(key),
        }
    }
    Ok(())
}

/// Reads all tickets, and writes the tickets whose status changes by that.
pub(super) fn load(
    map: &mut Transaction<'_>,
    options: &DurableQueueOptions,
    now: ClockReading,
    claims: ClaimPolicy,
) -> Result<LoadedTickets, KvError> {
    let (mut stored, corrupt) = read_all(map)?;
    stored.sort_unstable_by_key(|stored| stored.sequence);
    // New sequence numbers follow all stored ones.
    let last = stored.last().map_or(0, |stored| stored.sequence);
    let mut table = TicketTable::new(options.capacity, options.ageing)
        .with_last_sequence(last)
        .with_tracked_expiry();
    let (mut delay_ended, mut lease_expired) = (Vec::new(), Vec::new());
    // Keep the times in the order of the sequence numbers, whatever the system clock has done.
    let mut latest = None;
    for stored in stored {
        match stored.status(now) {
            SnapshotStatus::Ready { since } => {
                let since = latest.map_or(since, |latest| since.max(latest)).min(now.instant);
                latest = Some(since);
                restore(&mut table, stored, SnapshotStatus::Ready { since });
            }
            SnapshotStatus::Claimed { .. } if claims == ClaimPolicy::Expire => {
                lease_expired.push(stored);
            }
            SnapshotStatus::Delayed { until } if until <= now.instant => delay_ended.push(stored),
            status => restore(&mut table, stored, status),
        }
    }
    let ready = SnapshotStatus::Ready { since: now.instant };
    let changed: Vec<_> =
        delay_ended.iter().chain(&lease_expired).map(|stored| stored.ticket.evaluation).collect();
    for stored in delay_ended {
        table.restore(stored.ticket, stored.expired_leases, None, ready);
    }
    for stored in lease_expired {
        table.restore(stored.ticket, stored.expired_leases.saturating_add(1), None, ready);
    }
    for id in changed {
        let key = keys::ticket(id);
        // The ticket was decoded just now, so it can be encoded.
        if let Some(Ok(value)) =
            table.snapshot(id).map(|snapshot| StoredTicket::of(&snapshot, now).encode(&key))
        {
            map.put(key, value);
        }
    }
    Ok(LoadedTickets { table, corrupt })
}

fn restore(table: &mut TicketTable, stored: StoredTicket, status: SnapshotStatus) {
    table.restore(stored.ticket, stored.expired_leases, Some(stored.sequence), status);
}

/// Reads all tickets. Removes corrupt ones from the store, and returns their evaluations.
fn read_all(map: &mut Transaction<'_>) -> Result<(Vec<StoredTicket>, Vec<EvaluationId>), KvError> {
    let (mut tickets, mut corrupt) = (Vec::new(), Vec::new());
    map.for_each(Range::prefix(keys::TICKETS), |map, key, value| {
        let Some(id) = keys::evaluation(&key) else {
            map.delete(key);
            return Ok(());
        };
        match StoredTicket::decode(id, &key, &value) {
            Some(stored) => tickets.push(stored),
            None => {
                corrupt.push(id);
                map.delete(key);
            }
        }
        Ok(())
    })?;
    Ok((tickets, corrupt))
}

/// Checks that this version can read the layout. Writes the version into a new store.
pub(super) fn check_format(map: &mut Transaction<'_>) -> Result<(), QueueOpenError> {
    match layout_version(map, keys::FORMAT, "the version of the queue")? {
        None => {
            map.put(keys::FORMAT, Bytes::from(VERSION.to_string()));
            Ok(())
        }
        Some(VERSION) => Ok(()),
        Some(found) => Err(QueueOpenError::TooNew { found, supported: VERSION }),
    }
}
