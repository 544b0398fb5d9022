//! Handing out tickets to waiting claims.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crucible_core::{Claim, WorkerId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::ticket_status::after;
use crate::ticket_table::TicketTable;

/// The tickets of a queue behind a lock, and the claims that wait for one. `E` is additional state
/// of a queue implementation under the same lock.
pub(crate) struct Dispatcher<E> {
    state: Mutex<DispatcherState<E>>,
    /// Wakes one waiting claim for each ticket that becomes ready.
    ticket_ready: Notify,
    /// Wakes the claim that watches the deadline: an earlier lease or delay was set.
    earlier_deadline: Notify,
}

/// The tickets, and the number of waiting claims.
///
/// INVARIANT: while claims wait, one of them watches the deadline, or one of them has been woken
/// and will watch it. An expired lease therefore wakes a single claim, and needs no background
/// task.
struct DispatcherState<E> {
    tickets: TicketTable,
    extension: E,
    waiting: usize,
    watch: DeadlineWatch,
}

/// Whether a waiting claim watches the next deadline, and the time until which it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeadlineWatch {
    Unwatched,
    Watched { until: Option<Instant> },
}

impl<E> Dispatcher<E> {
    pub(crate) fn new(tickets: TicketTable, extension: E) -> Self {
        let state =
            DispatcherState { tickets, extension, waiting: 0, watch: DeadlineWatch::Unwatched };
        Self {
            state: Mutex::new(state),
            ticket_ready: Notify::new(),
            earlier_deadline: Notify::new(),
        }
    }

    /// Locks the state. No code under the lock can panic half-way, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, DispatcherState<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accesses the tickets without expiring leases and without waking claims.
    #[cfg(feature = "durable")]
    pub(crate) fn inspect<T>(&self, inspect: impl FnOnce(&mut TicketTable, &mut E) -> T) -> T {
        let state = &mut *self.lock();
        inspect(&mut state.tickets, &mut state.extension)
    }

    /// Expires leases and delays, changes the tickets, and wakes exactly the claims that both
    /// require.
    pub(crate) fn update<T>(
        &self,
        update: impl FnOnce(&mut TicketTable, &mut E, Instant) -> T,
    ) -> T {
        self.update_state(|state, now| update(&mut state.tickets, &mut state.extension, now))
    }

    fn update_state<T>(&self, update: impl FnOnce(&mut DispatcherState<E>, Instant) -> T) -> T {
        let mut state = self.lock();
        let now = Instant::now();
        state.tickets.expire(now);
        let result = update(&mut state, now);
        let newly_ready = state.tickets.take_newly_ready().min(state.waiting);
        let is_earlier = match (state.watch, state.tickets.next_deadline()) {
            (DeadlineWatch::Watched { until: Some(until) }, Some(next)) => next < until,
            (DeadlineWatch::Watched { until: None }, Some(_)) => true,
            (DeadlineWatch::Watched { .. }, None) | (DeadlineWatch::Unwatched, _) => false,
        };
        drop(state);
        for _ in 0..newly_ready {
            // Wake the newest claim: the oldest one watches the deadline and would need a
            // successor.
            self.ticket_ready.notify_last();
        }
        if is_earlier {
            self.earlier_deadline.notify_one();
        }
        result
    }

    /// Claims the next ticket. Waits up to `wait` for one.
    pub(crate) async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Option<Claim> {
        let (claim, now) = self.update(|tickets, _, now| (tickets.claim(worker, lease, now), now));
        if claim.is_some() || wait.is_zero() {
            return claim;
        }
        self.wait(worker, lease, after(now, wait)).await
    }

    async fn wait(&self, worker: &WorkerId, lease: Duration, give_up: Instant) -> Option<Claim> {
        let mut waiter = ClaimWaiter::new(self);
        loop {
            // Register before the look at the tickets, so that no later wake-up is missed.
            let ticket_ready = self.ticket_ready.notified();
            tokio::pin!(ticket_ready);
            ticket_ready.as_mut().enable();
            let step =
                self.update_state(|state, now| match state.tickets.claim(worker, lease, now) {
                    Some(claim) => ClaimStep::Done(Some(claim)),
                    None if now >= give_up => ClaimStep::Done(None),
                    None => ClaimStep::Wait(waiter.watch(state)),
                });
            let watch = match step {
                ClaimStep::Done(claim) => return claim,
                ClaimStep::Wait(watch) => watch,
            };
            tokio::select! {
                () = ticket_ready => {}
                () = self.deadline(watch) => {}
                () = sleep_until(give_up) => {}
            }
        }
    }

    /// Completes when a lease or a delay may have ended, for the claim that watches the deadline.
    /// Never completes for other claims.
    async fn deadline(&self, watch: DeadlineWatch) {
        match watch {
            DeadlineWatch::Unwatched => std::future::pending().await,
            DeadlineWatch::Watched { until: None } => self.earlier_deadline.notified().await,
            DeadlineWatch::Watched { until: Some(until) } => tokio::select! {
                () = self.earlier_deadline.notified() => {}
                () = sleep_until(until) => {}
            },
        }
    }
}

enum ClaimStep {
    Done(Option<Claim>),
    Wait(DeadlineWatch),
}

/// A waiting claim.
struct ClaimWaiter<'a, E> {
    dispatcher: &'a Dispatcher<E>,
    watches: bool,
}

impl<'a, E> ClaimWaiter<'a, E> {
    fn new(dispatcher: &'a Dispatcher<E>) -> Self {
        dispatcher.lock().waiting += 1;
        Self { dispatcher, watches: false }
    }

    /// Continues to watch the deadline, or starts if no other claim does.
    fn watch(&mut self, state: &mut DispatcherState<E>) -> DeadlineWatch {
        self.watches |= state.watch == DeadlineWatch::Unwatched;
        if !self.watches {
            return DeadlineWatch::Unwatched;
        }
        state.watch = DeadlineWatch::Watched { until: state.tickets.next_deadline() };
        state.watch
    }
}

impl<E> Drop for ClaimWaiter<'_, E> {
    fn drop(&mut self) {
        let mut state = self.dispatcher.lock();
        state.waiting -= 1;
        if self.watches {
            state.watch = DeadlineWatch::Unwatched;
        }
        let needs_successor = state.watch == DeadlineWatch::Unwatched && state.waiting > 0;
        drop(state);
        if needs_successor {
            self.dispatcher.ticket_ready.notify_one();
        }
    }
}

impl<E> fmt::Debug for Dispatcher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Dispatcher")
            .field("stats", &state.tickets.stats())
            .field("waiting", &state.waiting)
            .finish_non_exhaustive()
    }
}
