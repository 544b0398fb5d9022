//! A queue that outlives its process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_kv::{Place, Store, Transaction, WriteError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{OpenError, Unwritten, of_map, of_write};
use super::options::DurableQueueOptions;
use super::row::Generation;
use super::tickets::{self, Claims};
use crate::desk::Desk;
use crate::state::State;

/// A bounded queue whose tickets are in this process's memory and in a map that outlives it.
///
/// It hands tickets out as [`MemoryQueue`](crate::MemoryQueue) does, and is as fast as its map where something must last:
/// putting a ticket, and ending or giving back a claim (but see
/// [`restored_from_storage`](DurableQueueOptions::restored_from_storage)). Handing one out and extending a lease is written with whatever is
/// written next; if that is lost, the ticket is handed out again.
///
/// - **After the end of a process**, tickets stand as they stood. Whoever opens the map has it alone, so claims of another
///   process are those of one that is no more: their tickets are ready at once, with one death more.
///   [`close`](Self::close) gives them back without one. Tenants take their turns in the order of their oldest tickets then.
/// - **After a write that failed**, the tickets are read from the map again before the next call, so that what this process
///   believes is what it would find after a restart. Calls that were under way are answered with an error. Where the storage gives
///   tickets back, it believes what it has told instead: its callers do not wait for the map, and a restart finds those tickets
///   in the storage.
/// - **Clocks.** While a process has the queue, leases and delays run on tokio's clock, and setting the system's does nothing.
///   What passes between two processes is told by the system's clock: if it is set forward meanwhile, delays end sooner and
///   tickets count as older; if it is set back, no time has passed, so that a delay begins again at the most.
pub struct DurableQueue {
    inner: Arc<Inner>,
    damaged: Vec<EvaluationId>,
}

struct Inner {
    /// What is handed on has it as well, and nothing else of this: the store must not be held by what waits in it.
    desk: Arc<Desk<Doubt>>,
    store: Store,
    options: DurableQueueOptions,
    /// One reads the tickets again, and the others wait for that.
    reading_again: Mutex<()>,
}

/// Whether what is in memory is what the map has.
#[derive(Debug)]
pub(super) struct Doubt {
    /// How often the tickets were read from the map.
    pub(super) reading: u64,
    /// Whether a write has failed since.
    is_stale: bool,
    /// When the tickets were last changed, or later.
    pub(super) now: Generation,
}

impl DurableQueue {
    /// Opens the queue of a map.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(store: &Store, options: DurableQueueOptions) -> Result<Self, OpenError> {
        let now = Generation { instant: Instant::now(), time: (options.clock)() };
        let read = {
            let options = options.clone();
            move |map: &mut Transaction<'_>| {
                tickets::check_format(map)?;
                tickets::read(map, &options, now, Claims::Died).map_err(OpenError::Map)
            }
        };
        let read = store.write(read).await?;
        let desk = Arc::new(Desk::new(read.state, Doubt { reading: 0, is_stale: false, now }));
        let inner = Inner { desk, store: store.clone(), options, reading_again: Mutex::new(()) };
        Ok(Self { inner: Arc::new(inner), damaged: read.damaged })
    }

    /// The evaluations whose tickets could not be read when the queue was opened, and are gone. A platform puts new ones for
    /// those that its storage has as queued.
    #[must_use]
    pub fn damaged(&self) -> &[EvaluationId] {
        &self.damaged
    }

    /// Gives every claim back, without a death: for the end of a process whose workers have ended before.
    ///
    /// # Errors
    /// The map failed; then the claims count as those of a process that died.
    pub async fn close(&self) -> Result<(), QueueError> {
        self.inner.certain().await?;
        self.inner.change_durably(|state, now| (Ok(()), state.give_back_all(now))).await
    }
}

impl Inner {
    fn now(&self, instant: Instant) -> Generation {
        Generation { instant, time: (self.options.clock)() }
    }

    /// Sees to it that what is in memory is what the map has.
    async fn certain(self: &Arc<Self>) -> Result<(), QueueError> {
        if !self.desk.look(|_, doubt| doubt.is_stale) {
            return Ok(());
        }
        let _one_at_a_time = self.reading_again.lock().await;
        if !self.desk.look(|_, doubt| doubt.is_stale) {
            return Ok(());
        }
        let (inner, now) = (Arc::clone(self), self.now(Instant::now()));
        let read = move |map: &mut Transaction<'_>| {
            let read =
                tickets::read(map, &inner.options, now, Claims::Stay).map_err(Unwritten::Map)?;
            // In the turn of this write: whatever is written after it finds what was read.
            inner.desk.look(|state, doubt| {
                *state = read.state;
                *doubt = Doubt { reading: doubt.reading + 1, is_stale: false, now };
            });
            Ok(())
        };
        let read = self.store.write(read).await;
        if read.is_err() {
            self.desk.look(|_, doubt| doubt.is_stale = true);
        }
        read.map_err(of_write)?;
        // Wakes who waits for what is ready now.
        self.desk.act(|_, _, _| ());
        Ok(())
    }

    /// Puts, ends or removes a ticket, which is answered once it is durable, unless the storage is what a ticket is had from again.
    async fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, Instant) -> (Result<T, QueueError>, Vec<EvaluationId>),
    ) -> Result<T, QueueError> {
        if self.options.is_restored {
            self.change_later(change).await
        } else {
            self.change_durably(change).await
        }
    }

    /// Changes the tickets, and waits until it is durable how those stand that `change` names.
    async fn change_durably<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, Instant) -> (Result<T, QueueError>, Vec<EvaluationId>),
    ) -> Result<T, QueueError> {
        let (result, tickets, reading) = self.desk.act(|state, doubt, now| {
            let (result, tickets) = self.changed(change, state, doubt, now);
            (result, tickets, doubt.reading)
        });
        if tickets.is_empty() {
            return result;
        }
        // To its end, also if nobody waits for it any more: a failure must be noticed.
        let written = tokio::spawn(Arc::clone(self).write(tickets, reading)).await;
        written.map_err(|error| QueueError::Unavailable { source: error.into() }).flatten()?;
        result
    }

    /// Changes the tickets, and sees to it that the next write writes down how those stand that `change` names.
    async fn change_later<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, Instant) -> (Result<T, QueueError>, Vec<EvaluationId>),
    ) -> Result<T, QueueError> {
        let mut change = Some(change);
        loop {
            let place = self.store.place().await.map_err(of_map)?;
            let changed = self.desk.act(|state, doubt, now| {
                // Nobody waits to hear that the tickets were read again, so it is not to happen between this and its write.
                let change = change.take_if(|_| !doubt.is_stale)?;
                let (result, tickets) = self.changed(change, state, doubt, now);
                if tickets.is_empty() {
                    return Some(result);
                }
                // Under the same lock, so that whoever reads them again reads what this writes.
                Some(self.hand_on(place, tickets, doubt).and(result))
            });
            match changed {
                Some(result) => return result,
                None => self.certain().await?,
            }
        }
    }

    /// What was changed, and which tickets stand otherwise than before.
    fn changed<T>(
        &self,
        change: impl FnOnce(&mut State, Instant) -> (Result<T, QueueError>, Vec<EvaluationId>),
        state: &mut State,
        doubt: &mut Doubt,
        now: Instant,
    ) -> (Result<T, QueueError>, Vec<EvaluationId>) {
        let (result, mut tickets) = change(state, now);
        doubt.now = self.now(now);
        tickets.extend(state.take_settled());
        (result, tickets)
    }

    fn hand_on(
        &self,
        place: Place<'_>,
        tickets: Vec<EvaluationId>,
        doubt: &mut Doubt,
    ) -> Result<(), QueueError> {
        let (desk, failing, reading) =
            (Arc::clone(&self.desk), self.believes_the_map(), doubt.reading);
        let write =
            move |map: &mut Transaction<'_>| match tickets::write(map, &desk, &tickets, reading) {
                // They stand as they were read.
                Err(Unwritten::ReadAgain) => Ok(()),
                written => written,
            };
        let failed = move || {
            if let Some(desk) = failing {
                note_failure(&desk, reading);
            }
        };
        // Closed: there is nothing to be read any more.
        place.write(write, failed).map_err(of_map)
    }

    /// The tickets, if what is in the map is what counts after a write that failed. Where they can be had from the storage it is what
    /// callers were told: some of that is in no map yet, and would be gone if the tickets were read again.
    fn believes_the_map(&self) -> Option<Arc<Desk<Doubt>>> {
        (!self.options.is_restored).then(|| Arc::clone(&self.desk))
    }

    async fn write(
        self: Arc<Self>,
        tickets: Vec<EvaluationId>,
        reading: u64,
    ) -> Result<(), QueueError> {
        let desk = Arc::clone(&self.desk);
        let write = move |map: &mut Transaction<'_>| tickets::write(map, &desk, &tickets, reading);
        let written = self.store.write(write).await;
        if let Some(desk) = self.believes_the_map()
            && !matches!(written, Ok(()) | Err(WriteError::Aborted(Unwritten::ReadAgain)))
        {
            note_failure(&desk, reading);
        }
        written.map_err(of_write)
    }
}

/// Takes note that what is in memory may not be what the map has, unless it was read since.
fn note_failure(desk: &Desk<Doubt>, reading: u64) {
    desk.look(|_, doubt| doubt.is_stale |= doubt.reading == reading);
}

#[async_trait]
impl Queue for DurableQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = ticket.evaluation;
        let put = |state: &mut State, now| {
            let put = state.enqueue(ticket, now);
            let is_there = matches!(put, Ok(()) | Err(QueueError::Duplicate { .. }));
            // Whoever is told that it is there already may rely on it, so that it is written by now.
            (put, if is_there { vec![id] } else { Vec::new() })
        };
        self.inner.change(put).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.inner.certain().await?;
        let claim = self.inner.desk.claim(worker, lease, wait).await;
        let claimed = claim.iter().map(|claim| claim.ticket.evaluation).collect();
        self.inner.change_later(|_, _| (Ok(claim), claimed)).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change_later(|state, now| (state.extend(claim, lease, now), vec![id])).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change(|state, _| (state.ack(claim), vec![id])).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change_durably(|state, now| (state.nack(claim, delay, now), vec![id])).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.inner.certain().await?;
        let remove = |state: &mut State, _| match state.remove(evaluation) {
            true => (Ok(true), vec![evaluation]),
            false => (Ok(false), Vec::new()),
        };
        self.inner.change(remove).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.inner.certain().await?;
        self.inner.change_later(|state, _| (Ok(state.stats()), Vec::new())).await
    }
}

impl fmt::Debug for DurableQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableQueue")
            .field("desk", &self.inner.desk)
            .field("store", &self.inner.store)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}
