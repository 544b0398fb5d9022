//! Where tickets are handed out, and where those stand who wait for one.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crucible_core::{Claim, WorkerId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::state::{State, after};

/// The tickets of a queue behind a lock, and the waiting for them. `K` is what a kind of queue keeps under the same lock.
pub(crate) struct Desk<K> {
    watched: Mutex<Watched<K>>,
    /// Wakes who waits for a ticket: one waiter for each ticket that becomes ready.
    came: Notify,
    /// Wakes the waiter that watches the clock: a lease or delay now ends sooner than all others did.
    sooner: Notify,
}

/// The tickets, and who waits for one.
///
/// INVARIANT: while anybody waits, one of those who wait watches the clock, or one of them has been woken and will.
/// So a lease that runs out wakes a single waiter, and needs no task of its own.
struct Watched<K> {
    state: State,
    kept: K,
    waiting: usize,
    clock: Clock,
}

/// Whether a waiter watches the clock, and until when it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Unwatched,
    Watched { until: Option<Instant> },
}

impl<K> Desk<K> {
    pub(crate) fn new(state: State, kept: K) -> Self {
        let watched = Watched { state, kept, waiting: 0, clock: Clock::Unwatched };
        Self { watched: Mutex::new(watched), came: Notify::new(), sooner: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Watched<K>> {
        // Nothing that is done under the lock can panic half-way.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the tickets as they are: nothing that has run out is ended, nobody is woken.
    #[cfg(feature = "durable")]
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State, &mut K) -> T) -> T {
        let watched = &mut *self.lock();
        look(&mut watched.state, &mut watched.kept)
    }

    /// Does something with the tickets, after what has run out has been ended, and wakes exactly who is needed for what
    /// came of both.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State, &mut K, Instant) -> T) -> T {
        self.act_watched(|watched, now| act(&mut watched.state, &mut watched.kept, now))
    }

    fn act_watched<T>(&self, act: impl FnOnce(&mut Watched<K>, Instant) -> T) -> T {
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

    /// Hands the next ticket out; waits up to `wait` for one.
    pub(crate) async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Option<Claim> {
        let (claim, now) = self.act(|state, _, now| (state.claim(worker, lease, now), now));
        if claim.is_some() || wait.is_zero() {
            return claim;
        }
        self.wait(worker, lease, after(now, wait)).await
    }

    async fn wait(&self, worker: &WorkerId, lease: Duration, deadline: Instant) -> Option<Claim> {
        let mut waiter = Waiter::new(self);
        loop {
            // Before looking: what becomes ready after the look is heard.
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            let looked =
                self.act_watched(|watched, now| match watched.state.claim(worker, lease, now) {
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
struct Waiter<'a, K> {
    desk: &'a Desk<K>,
    watches: bool,
}

impl<'a, K> Waiter<'a, K> {
    fn new(desk: &'a Desk<K>) -> Self {
        desk.lock().waiting += 1;
        Self { desk, watches: false }
    }

    /// Goes on watching the clock, or begins to if nobody does.
    fn watch(&mut self, watched: &mut Watched<K>) -> Clock {
        self.watches |= watched.clock == Clock::Unwatched;
        if !self.watches {
            return Clock::Unwatched;
        }
        watched.clock = Clock::Watched { until: watched.state.next_end() };
        watched.clock
    }
}

impl<K> Drop for Waiter<'_, K> {
    fn drop(&mut self) {
        let mut watched = self.desk.lock();
        watched.waiting -= 1;
        if self.watches {
            watched.clock = Clock::Unwatched;
        }
        let successor_needed = watched.clock == Clock::Unwatched && watched.waiting > 0;
        drop(watched);
        if successor_needed {
            self.desk.came.notify_one();
        }
    }
}

impl<K> fmt::Debug for Desk<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.lock();
        f.debug_struct("Desk")
            .field("stats", &watched.state.stats())
            .field("waiting", &watched.waiting)
            .finish_non_exhaustive()
    }
}
