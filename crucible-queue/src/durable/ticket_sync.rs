//! Keeping the tickets in memory and in the store in step.

use std::sync::Arc;

use crucible_core::{EvaluationId, QueueError};
use crucible_kv::{Store, Transaction, WriteError, WritePermit};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::clock_reading::ClockReading;
use super::error::{TicketWriteError, queue_error, queue_error_of_write};
use super::options::DurableQueueOptions;
use super::sync_state::SyncState;
use super::ticket_store::{self, ClaimPolicy};
use crate::dispatcher::Dispatcher;
use crate::ticket_table::TicketTable;

/// The tickets in memory and in the store.
pub(super) struct TicketSync {
    /// Shared with queued writes. They must not hold the store itself, because the store waits for
    /// them when it is dropped.
    pub(super) dispatcher: Arc<Dispatcher<SyncState>>,
    pub(super) store: Store,
    pub(super) options: DurableQueueOptions,
    /// Serializes reloads. Other callers wait for the running one.
    reload: Mutex<()>,
}

/// The result of a change, and the tickets that it has changed.
pub(super) type Changed<T> = (Result<T, QueueError>, Vec<EvaluationId>);

impl TicketSync {
    pub(super) fn new(
        table: TicketTable,
        store: Store,
        options: DurableQueueOptions,
        now: ClockReading,
    ) -> Self {
        let sync = SyncState { reloads: 0, is_stale: false, now };
        let dispatcher = Arc::new(Dispatcher::new(table, sync));
        Self { dispatcher, store, options, reload: Mutex::new(()) }
    }

    fn read_clocks(&self, instant: Instant) -> ClockReading {
        ClockReading { instant, time: (self.options.clock)() }
    }

    /// Reloads the tickets from the store if a write has failed.
    pub(super) async fn ensure_synced(self: &Arc<Self>) -> Result<(), QueueError> {
        if !self.is_stale() {
            return Ok(());
        }
        let _serialized = self.reload.lock().await;
        if !self.is_stale() {
            return Ok(());
        }
        let (sync, now) = (Arc::clone(self), self.read_clocks(Instant::now()));
        let load = move |map: &mut Transaction<'_>| {
            let loaded = ticket_store::load(map, &sync.options, now, ClaimPolicy::Keep)
                .map_err(TicketWriteError::Map)?;
            // Replace the tickets within this write, so that later writes see the reloaded ones.
            sync.dispatcher.inspect(|table, state| {
                *table = loaded.table;
                *state = SyncState { reloads: state.reloads + 1, is_stale: false, now };
            });
            Ok(())
        };
        let loaded = self.store.write(load).await;
        if loaded.is_err() {
            self.dispatcher.inspect(|_, state| state.is_stale = true);
        }
        loaded.map_err(queue_error_of_write)?;
        // Wake the claims that wait for tickets that are ready now.
        self.dispatcher.update(|_, _, _| ());
        Ok(())
    }

    fn is_stale(&self) -> bool {
        self.dispatcher.inspect(|_, state| state.is_stale)
    }

    /// Changes tickets. Waits until the change is durable, unless the host restores tickets from
    /// its storage.
    pub(super) async fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut TicketTable, Instant) -> Changed<T>,
    ) -> Result<T, QueueError> {
        if self.options.is_restored {
            self.change_later(change).await
        } else {
            self.change_durably(change).await
        }
    }

    /// Changes tickets, and waits until the change is durable.
    pub(super) async fn change_durably<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut TicketTable, Instant) -> Changed<T>,
    ) -> Result<T, QueueError> {
        let (result, tickets, reloads) = self.dispatcher.update(|table, state, now| {
            let (result, tickets) = self.apply_change(change, table, state, now);
            (result, tickets, state.reloads)
        });
        if tickets.is_empty() {
            return result;
        }
        // Run to the end even if the caller drops the future, so that a failure is noticed.
        let written = tokio::spawn(Arc::clone(self).write(tickets, reloads)).await;
        written.map_err(|error| QueueError::Unavailable { source: error.into() }).flatten()?;
        result
    }

    /// Changes tickets. The next group of the store contains the change; this function does not
    /// wait for it.
    pub(super) async fn change_later<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut TicketTable, Instant) -> Changed<T>,
    ) -> Result<T, QueueError> {
        let mut change = Some(change);
        loop {
            let permit = self.store.reserve().await.map_err(queue_error)?;
            let changed = self.dispatcher.update(|table, state, now| {
                // A reload between the change and its write would undo the change unnoticed, so
                // both happen under one lock, and only if no reload is due.
                let change = change.take_if(|_| !state.is_stale)?;
                let (result, tickets) = self.apply_change(change, table, state, now);
                if tickets.is_empty() {
                    return Some(result);
                }
                Some(self.submit_write(permit, tickets, state).and(result))
            });
            match changed {
                Some(result) => return result,
                None => self.ensure_synced().await?,
            }
        }
    }

    /// Applies a change, and adds the tickets whose lease or delay has ended.
    fn apply_change<T>(
        &self,
        change: impl FnOnce(&mut TicketTable, Instant) -> Changed<T>,
        table: &mut TicketTable,
        state: &mut SyncState,
        now: Instant,
    ) -> Changed<T> {
        let (result, mut tickets) = change(table, now);
        state.now = self.read_clocks(now);
        tickets.extend(table.take_expired());
        (result, tickets)
    }

    fn submit_write(
        &self,
        permit: WritePermit<'_>,
        tickets: Vec<EvaluationId>,
        state: &mut SyncState,
    ) -> Result<(), QueueError> {
        let (dispatcher, reloads) = (Arc::clone(&self.dispatcher), state.reloads);
        let write = move |map: &mut Transaction<'_>| {
            match ticket_store::write(map, &dispatcher, &tickets, reloads) {
                // The reload has replaced the tickets, so nothing needs to be written.
                Err(TicketWriteError::Reloaded) => Ok(()),
                written => written,
            }
        };
        let reloading = self.reloads_after_failure();
        let failed = move || {
            if let Some(dispatcher) = reloading {
                mark_stale(&dispatcher, reloads);
            }
        };
        permit.write(write, failed).map_err(queue_error)
    }

    /// Returns the dispatcher if the queue reloads its tickets after a failed write.
    ///
    /// A queue whose host restores tickets from the storage does not reload. Its callers were
    /// answered before their writes, and a reload would lose these tickets.
    fn reloads_after_failure(&self) -> Option<Arc<Dispatcher<SyncState>>> {
        (!self.options.is_restored).then(|| Arc::clone(&self.dispatcher))
    }

    async fn write(
        self: Arc<Self>,
        tickets: Vec<EvaluationId>,
        reloads: u64,
    ) -> Result<(), QueueError> {
        let dispatcher = Arc::clone(&self.dispatcher);
        let write = move |map: &mut Transaction<'_>| {
            ticket_store::write(map, &dispatcher, &tickets, reloads)
        };
        let written = self.store.write(write).await;
        if let Some(dispatcher) = self.reloads_after_failure()
            && !matches!(written, Ok(()) | Err(WriteError::Aborted(TicketWriteError::Reloaded)))
        {
            mark_stale(&dispatcher, reloads);
        }
        written.map_err(queue_error_of_write)
    }
}

/// Marks the tickets in memory as stale, unless they were reloaded since the failed write.
fn mark_stale(dispatcher: &Dispatcher<SyncState>, reloads: u64) {
    dispatcher.inspect(|_, state| state.is_stale |= state.reloads == reloads);
}
