//! A queue that survives its process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{Claim, EvaluationId, Queue, QueueError, QueueStats, Ticket, WorkerId};
use crucible_kv::{Store, Transaction};
use tokio::time::Instant;

use super::clock_reading::ClockReading;
use super::error::QueueOpenError;
use super::options::DurableQueueOptions;
use super::ticket_store::{self, ClaimPolicy};
use super::ticket_sync::TicketSync;
use crate::ticket_table::TicketTable;

/// A bounded queue with its tickets in memory and in a durable store.
///
/// It orders tickets as [`MemoryQueue`](crate::MemoryQueue) does. `enqueue`, `ack`, `nack` and
/// `remove` wait until the store has made the change durable (see also
/// [`restored_from_storage`](DurableQueueOptions::restored_from_storage)). `claim` and `extend`
/// return earlier, and the next group of the store contains the change. If that group is lost, the
/// queue hands out the ticket again.
///
/// - **After the end of a process**, tickets have the same status. Only one process can open the
///   store, so claims of another process are claims of an ended process. Their tickets are ready at
///   once, with one more expired lease. [`close`](Self::close) releases claims without that.
///   Tenants take their turns in the order of their oldest tickets.
/// - **After a failed write**, the queue reloads its tickets from the store before the next call.
///   Memory then equals the content after a restart. Running calls return an error. A queue with
///   [`restored_from_storage`](DurableQueueOptions::restored_from_storage) does not reload: its
///   callers were answered before the write, and a restart restores the tickets from the storage.
/// - **Clocks.** Within a process, leases and delays use tokio's clock, and changes of the system
///   clock have no effect. Between two processes, the system clock measures the time. If it is set
///   forward, delays end earlier and tickets are older. If it is set back, no time passes, so that
///   a delay at most starts again.
pub struct DurableQueue {
    sync: Arc<TicketSync>,
    corrupt: Vec<EvaluationId>,
}

impl DurableQueue {
    /// Opens the queue of a store.
    ///
    /// # Errors
    /// Returns [`QueueOpenError`] if a later version wrote the queue, or if the store fails.
    pub async fn open(store: &Store, options: DurableQueueOptions) -> Result<Self, QueueOpenError> {
        let now = ClockReading { instant: Instant::now(), time: (options.clock)() };
        let load = {
            let options = options.clone();
            move |map: &mut Transaction<'_>| {
                ticket_store::check_format(map)?;
                ticket_store::load(map, &options, now, ClaimPolicy::Expire)
                    .map_err(QueueOpenError::Map)
            }
        };
        let loaded = store.write(load).await?;
        let sync = TicketSync::new(loaded.table, store.clone(), options, now);
        Ok(Self { sync: Arc::new(sync), corrupt: loaded.corrupt })
    }

    /// Returns the evaluations whose tickets were corrupt when the queue was opened. The queue has
    /// removed these tickets; [`Crucible::recover`](crucible_core::Crucible::recover) enqueues them
    /// again.
    #[must_use]
    pub fn corrupt(&self) -> &[EvaluationId] {
        &self.corrupt
    }

    /// Releases all claims without counting an expired lease. Call this at the end of a process,
    /// after its workers have ended.
    ///
    /// # Errors
    /// Returns an error if the store fails. The claims then count as claims of a crashed process.
    pub async fn close(&self) -> Result<(), QueueError> {
        self.sync.ensure_synced().await?;
        self.sync.change_durably(|table, now| (Ok(()), table.release_claims(now))).await
    }
}

#[async_trait]
impl Queue for DurableQueue {
    async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
        self.sync.ensure_synced().await?;
        let id = ticket.evaluation;
        let enqueue = |table: &mut TicketTable, now| {
            let result = table.enqueue(ticket, now);
            // Also write a duplicate: the caller may rely on the ticket, and the write of the first
            // call may still be running.
            let exists = matches!(result, Ok(()) | Err(QueueError::Duplicate { .. }));
            (result, if exists { vec![id] } else { Vec::new() })
        };
        self.sync.change(enqueue).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        self.sync.ensure_synced().await?;
        let claim = self.sync.dispatcher.claim(worker, lease, wait).await;
        let claimed = claim.iter().map(|claim| claim.ticket.evaluation).collect();
        self.sync.change_later(|_, _| (Ok(claim), claimed)).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
        self.sync.ensure_synced().await?;
        let id = claim.ticket.evaluation;
        self.sync.change_later(|table, now| (table.extend(claim, lease, now), vec![id])).await
    }

    async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
        self.sync.ensure_synced().await?;
        let id = claim.ticket.evaluation;
        self.sync.change(|table, _| (table.ack(claim), vec![id])).await
    }

    async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
        self.sync.ensure_synced().await?;
        let id = claim.ticket.evaluation;
        self.sync.change_durably(|table, now| (table.nack(claim, delay, now), vec![id])).await
    }

    async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
        self.sync.ensure_synced().await?;
        let remove = |table: &mut TicketTable, _| match table.remove(evaluation) {
            true => (Ok(true), vec![evaluation]),
            false => (Ok(false), Vec::new()),
        };
        self.sync.change(remove).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.sync.ensure_synced().await?;
        self.sync.change_later(|table, _| (Ok(table.stats()), Vec::new())).await
    }
}

impl fmt::Debug for DurableQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableQueue")
            .field("dispatcher", &self.sync.dispatcher)
            .field("store", &self.sync.store)
            .field("options", &self.sync.options)
            .finish_non_exhaustive()
    }
}
