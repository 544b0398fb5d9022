//! A queue in this process.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::state::{State, after};

/// What a rank costs in waiting. A run takes at most 10 s unless its limits say otherwise, so a ticket that has waited
/// for 30 s longer than a more urgent one has been passed over for several runs.
const AGEING: Duration = Duration::from_secs(30);

/// A bounded queue in this process's memory.
///
/// Of two tickets, the one that is a priority more urgent comes first unless the other has waited 30 s longer; a ticket
/// that overcomes more urgent ones by its age comes out whoever's turn it is. So no ticket waits for ever, however many
/// more urgent ones keep coming.
///
/// A ticket that comes back, because a lease ran out or a delay has passed or a claim was given back, is its tenant's
/// newest.
///
/// Its clock is tokio's: where that is paused, so are leases and delays.
pub struct MemoryQueue {
    state: Mutex<Watched>,
    /// Wakes who waits for a ticket: one waiter for each ticket that becomes ready.
    came: Notify,
    /// Wakes the waiter that watches the clock: a lease or delay now ends sooner than all others did.
    sooner: Notify,
}

/// The tickets, and who waits for one.
///
/// INVARIANT: while anybody waits, one of those who wait watches the clock, or one of them has been woken and will.
/// So a lease that runs out wakes a single waiter, and needs no task of its own.
#[derive(Debug)]
struct Watched {
    state: State,
    waiting: usize,
    clock: Clock,
}

/// Whether a waiter watches the clock, and until when it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Unwatched,
    Watched { until: Option<Instant> },
}

impl MemoryQueue {
    /// A queue in which at most `capacity` tickets may wait, ready or delayed. Tickets that somebody holds do not count,
    /// and one that is given back is taken whatever the depth.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        let state = State::new(capacity, AGEING);
        let watched = Watched { state, waiting: 0, clock: Clock::Unwatched };
        Self { state: Mutex::new(watched), came: Notify::new(), sooner: Notify::new() }
    }

    /// Sets how much longer than a ticket that is one priority more urgent a ticket must have waited to come before it:
    /// 30 s by default. [`Duration::MAX`] lets the more urgent always come first, so that others may wait for ever;
    /// [`Duration::ZERO`] lets the oldest always come first.
    #[must_use]
    pub fn with_ageing(self, step: Duration) -> Self {
        self.lock().state.ageing = step;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the tickets, after what has run out has been ended, and wakes exactly who is needed for what
    /// came of both.
    fn act<T>(&self, act: impl FnOnce(&mut Watched, Instant) -> T) -> T {
        let mut watched = self.lock();
        let now = Instant::now();
        watched.state.settle(now);
        let result = act(&mut watched, now);
        let tickets = watched.state.take_fresh().min(watched.waiting);
        let sooner = match (watched.clock, watched.state.next_end()) {
            (Clock::Watched { until: Some(until) }, Some(end)) => end < until,
            (Clock::Watched { until: None }, Some(_)) => true,
            (Clock::Watched { .. }, None) | (Clock::Unwatched, _) => false,
        };
        drop(watched);
        for _ in 0..tickets {
            // The last who came to wait: the first one watches the clock, and would have to find a successor.
            self.came.notify_last();
        }
        if sooner {
            self.sooner.notify_one();
        }
        result
    }

    async fn wait(&self, worker: &WorkerId, lease: Duration, deadline: Instant) -> Option<Claim> {
        let mut waiter = Waiter::new(self);
        loop {
            // Before looking: what becomes ready after the look is heard.
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            let looked = self.act(|watched, now| match watched.state.claim(worker, lease, now) {
                Some(claim) => Looked::Done(Some(claim)),
                None if now >= deadline => Looked::Done(None),
                None => Looked::Wait(waiter.watch(watched)),
            });
            let clock = match looked {
                Looked::Done(claim) => return claim,
                Looked::Wait(clock) => clock,
            };
            tokio::select! {
                () = came => {}
                () = self.sooner_or(clock) => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Ends when there may be something to settle, for the waiter that watches the clock; never for the others.
    async fn sooner_or(&self, clock: Clock) {
        match clock {
            Clock::Unwatched => std::future::pending().await,
            Clock::Watched { until: None } => self.sooner.notified().await,
            Clock::Watched { until: Some(until) } => tokio::select! {
                () = self.sooner.notified() => {}
                () = sleep_until(until) => {}
            },
        }
    }
}

enum Looked {
    Done(Option<Claim>),
    Wait(Clock),
}

/// Somebody who waits for a ticket, from the first look until it has one or gives up.
struct Waiter<'a> {
    queue: &'a MemoryQueue,
    watches: bool,
}

impl<'a> Waiter<'a> {
    fn new(queue: &'a MemoryQueue) -> Self {
        queue.lock().waiting += 1;
        Self { queue, watches: false }
    }

    /// Goes on watching the clock, or begins to if nobody does.
    fn watch(&mut self, watched: &mut Watched) -> Clock {
        self.watches |= watched.clock == Clock::Unwatched;
        if !self.watches {
            return Clock::Unwatched;
        }
        watched.clock = Clock::Watched { until: watched.state.next_end() };
        watched.clock
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut watched = self.queue.lock();
        watched.waiting -= 1;
        if self.watches {
            watched.clock = Clock::Unwatched;
        }
        let successor_needed = watched.clock == Clock::Unwatched && watched.waiting > 0;
        drop(watched);
        if successor_needed {
            self.queue.came.notify_one();
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.act(|watched, now| watched.state.enqueue(ticket, now))
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let (claim, now) = self.act(|watched, now| (watched.state.claim(worker, lease, now), now));
        if claim.is_some() || wait.is_zero() {
            return Ok(claim);
        }
        Ok(self.wait(worker, lease, after(now, wait)).await)
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.act(|watched, now| watched.state.extend(claim, lease, now))
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.act(|watched, _| watched.state.ack(claim))
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.act(|watched, now| watched.state.nack(claim, delay, now))
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        Ok(self.act(|watched, _| watched.state.remove(evaluation)))
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(self.act(|watched, _| watched.state.stats()))
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.lock();
        f.debug_struct("MemoryQueue")
            .field("stats", &watched.state.stats())
            .field("waiting", &watched.waiting)
            .finish_non_exhaustive()
    }
}
