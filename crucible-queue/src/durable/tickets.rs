//! The tickets in the map: writing them down as they stand, and making them stand as they are written.

use bytes::Bytes;
use crucible_core::EvaluationId;
use crucible_kv::{KvError, Range, Transaction};

use super::error::{OpenError, Unwritten};
use super::keys;
use super::options::DurableQueueOptions;
use super::queue::Doubt;
use super::row::{Generation, Row};
use crate::desk::Desk;
use crate::state::{Place, State};

/// The version of the layout that [`keys`] and [`Row`] describe.
///
/// Another version needs a step that makes it from this one, and a fixture that was written by this one.
pub(super) const VERSION: u32 = 1;

/// How many tickets are read at once.
const AT_ONCE: usize = 1024;

/// Writes down how tickets stand, unless they were read from the map again since: then whoever changed them before has
/// changed nothing.
pub(super) fn write(
    map: &mut Transaction<'_>,
    desk: &Desk<Doubt>,
    tickets: &[EvaluationId],
    reading: u64,
) -> Result<(), Unwritten> {
    let rows = desk.look(|state, doubt| {
        let row =
            |id: &EvaluationId| (*id, state.standing(*id).map(|row| Row::of(&row, doubt.now)));
        (doubt.reading == reading).then(|| tickets.iter().map(row).collect::<Vec<_>>())
    });
    // Nobody who wants a ticket has to wait while they are encoded. Whoever changes one of them meanwhile writes it down after this.
    for (id, row) in rows.ok_or(Unwritten::ReadAgain)? {
        let key = keys::ticket(id);
        match row {
            Some(row) => {
                let value = row.encode(&key).map_err(Unwritten::Encode)?;
                map.put(key, value);
            }
            None => map.delete(key),
        }
    }
    Ok(())
}

/// What becomes of claims when tickets are read from the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claims {
    /// They are held by this process.
    Stay,
    /// They were held by a process that is no more: their tickets are ready, with one death more.
    Died,
}

/// Tickets as they were read.
#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) state: State,
    /// Those that could not be read. They are removed from the map.
    pub(super) damaged: Vec<EvaluationId>,
}

/// Reads all tickets, and writes down those that stand otherwise than they did.
pub(super) fn read(
    map: &mut Transaction<'_>,
    options: &DurableQueueOptions,
    now: Generation,
    claims: Claims,
) -> Result<Tickets, KvError> {
    let (mut rows, damaged) = read_rows(map)?;
    rows.sort_unstable_by_key(|row| row.number);
    // What is numbered from now on comes after all that is in the map.
    let first = rows.last().map_or(0, |row| row.number);
    let mut state =
        State::new(options.capacity, options.ageing).numbered_after(first).note_settled();
    let (mut ended, mut died) = (Vec::new(), Vec::new());
    // Nobody is ready since before somebody who came to be so earlier, whatever the clock has done.
    let mut latest = None;
    for row in rows {
        match row.place(now) {
            Place::Ready { since } => {
                let since = latest.map_or(since, |latest| since.max(latest)).min(now.instant);
                latest = Some(since);
                state.restore(
                    row.ticket,
                    row.expired_leases,
                    Some(row.number),
                    Place::Ready { since },
                );
            }
            Place::Claimed { .. } if claims == Claims::Died => died.push(row),
            Place::Delayed { until } if until <= now.instant => ended.push(row),
            place => state.restore(row.ticket, row.expired_leases, Some(row.number), place),
        }
    }
    let since = now.instant;
    let changed: Vec<_> = ended.iter().chain(&died).map(|row| row.ticket.evaluation).collect();
    for row in ended {
        state.restore(row.ticket, row.expired_leases, None, Place::Ready { since });
    }
    for row in died {
        state.restore(
            row.ticket,
            row.expired_leases.saturating_add(1),
            None,
            Place::Ready { since },
        );
    }
    for id in changed {
        let key = keys::ticket(id);
        // What was decoded a moment ago can be encoded.
        if let Some(Ok(value)) =
            state.standing(id).map(|standing| Row::of(&standing, now).encode(&key))
        {
            map.put(key, value);
        }
    }
    Ok(Tickets { state, damaged })
}

fn read_rows(map: &mut Transaction<'_>) -> Result<(Vec<Row>, Vec<EvaluationId>), KvError> {
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    let mut range = Range::prefix(keys::TICKETS);
    loop {
        let found = map.scan(&range, AT_ONCE)?;
        let Some((last, _)) = found.last() else { return Ok((rows, damaged)) };
        range = range.after(last.clone());
        for (key, value) in found {
            let Some(id) = keys::evaluation(&key) else {
                map.delete(key);
                continue;
            };
            match Row::decode(id, &key, &value) {
                Some(row) => rows.push(row),
                None => {
                    damaged.push(id);
                    map.delete(key);
                }
            }
        }
    }
}

/// Makes sure that the layout is the one that this crate reads and writes.
pub(super) fn check_format(map: &mut Transaction<'_>) -> Result<(), OpenError> {
    let Some(text) = map.get(keys::FORMAT).map_err(OpenError::Map)? else {
        map.put(keys::FORMAT, Bytes::from(VERSION.to_string()));
        return Ok(());
    };
    match std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => Err(OpenError::TooNew { found, supported: VERSION }),
        _ => Err(OpenError::Map(KvError::Corrupt {
            what: "the version of the queue".into(),
            source: None,
        })),
    }
}
