//! A queue that outlives its process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_kv::{Store, Transaction, WriteError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{OpenError, Unwritten, of_write};
use super::options::DurableQueueOptions;
use super::row::Moment;
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
///   believes is what it would find after a restart. Calls that were under way are answered with an error.
/// - **Clocks.** While a process has the queue, leases and delays run on tokio's clock, and setting the system's does nothing.
///   What passes between two processes is told by the system's clock: if it is set forward meanwhile, delays end sooner and
///   tickets count as older; if it is set back, no time has passed, so that a delay begins again at the most.
pub struct DurableQueue {
    inner: Arc<Inner>,
    damaged: Vec<EvaluationId>,
}

struct Inner {
    desk: Desk<Doubt>,
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
    pub(super) now: Moment,
}

impl DurableQueue {
    /// Opens the queue of a map.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(store: &Store, options: DurableQueueOptions) -> Result<Self, OpenError> {
        let now = Moment { instant: Instant::now(), time: (options.clock)() };
        let read = {
            let options = options.clone();
            move |map: &mut Transaction<'_>| {
                tickets::check_format(map)?;
                tickets::read(map, &options, now, Claims::Died).map_err(OpenError::Map)
            }
        };
        let read = store.write(read).await?;
        let desk = Desk::new(read.state, Doubt { reading: 0, is_stale: false, now });
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
        self.inner.change(When::Durable, |state, now| (Ok(()), state.give_back_all(now))).await
    }
}

/// When a change is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Once it is durable.
    Durable,
    /// Once the next write will have it.
    HandedOn,
}

impl Inner {
    fn now(&self, instant: Instant) -> Moment {
        Moment { instant, time: (self.options.clock)() }
    }

    /// When it is answered that a ticket was put, ended or removed.
    fn ticket(&self) -> When {
        if self.options.is_restored { When::HandedOn } else { When::Durable }
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
            let read = tickets::read(map, &inner.options, now, Claims::Stay).map_err(Unwritten::Map)?;
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

    /// Changes the tickets, and writes down how those stand that `change` names.
    async fn change<T>(
        self: &Arc<Self>,
        when: When,
        change: impl FnOnce(&mut State, Instant) -> (Result<T, QueueError>, Vec<EvaluationId>),
    ) -> Result<T, QueueError> {
        let (result, tickets, reading) = self.desk.act(|state, doubt, now| {
            let (result, mut tickets) = change(state, now);
            doubt.now = self.now(now);
            tickets.extend(state.take_settled());
            (result, tickets, doubt.reading)
        });
        if tickets.is_empty() {
            return result;
        }
        // To its end, also if nobody waits for it any more: a failure must be noticed.
        let written = tokio::spawn(Arc::clone(self).write(when, tickets, reading)).await;
        written.map_err(|error| QueueError::Unavailable { source: error.into() }).flatten()?;
        result
    }

    async fn write(
        self: Arc<Self>,
        when: When,
        tickets: Vec<EvaluationId>,
        reading: u64,
    ) -> Result<(), QueueError> {
        let inner = Arc::clone(&self);
        let write = move |map: &mut Transaction<'_>| tickets::write(map, &inner.desk, &tickets, reading);
        let written = match when {
            When::Durable => self.store.write(write).await,
            When::HandedOn => self.store.write_later(write).await,
        };
        if !matches!(written, Ok(()) | Err(WriteError::Aborted(Unwritten::ReadAgain))) {
            self.desk.look(|_, doubt| doubt.is_stale |= doubt.reading == reading);
        }
        written.map_err(of_write)
    }
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
        self.inner.change(self.inner.ticket(), put).await
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
        self.inner.change(When::HandedOn, |_, _| (Ok(claim), claimed)).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change(When::HandedOn, |state, now| (state.extend(claim, lease, now), vec![id])).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change(self.inner.ticket(), |state, _| (state.ack(claim), vec![id])).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.inner.certain().await?;
        let id = claim.ticket.evaluation;
        self.inner.change(When::Durable, |state, now| (state.nack(claim, delay, now), vec![id])).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.inner.certain().await?;
        let remove = |state: &mut State, _| match state.remove(evaluation) {
            true => (Ok(true), vec![evaluation]),
            false => (Ok(false), Vec::new()),
        };
        self.inner.change(self.inner.ticket(), remove).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.inner.certain().await?;
        self.inner.change(When::HandedOn, |state, _| (Ok(state.stats()), Vec::new())).await
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
