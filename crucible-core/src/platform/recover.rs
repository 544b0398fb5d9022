//! Bringing storage and queue into agreement after a host died between the two.

use std::time::Duration;

use futures::StreamExt as _;

use super::shared::Shared;
use crate::journal::{Record, RecordState};
use crate::model::Timestamp;
use crate::queue::{QueueError, Ticket};
use crate::storage::{CorruptRecord, RecordQuery, StorageError};

/// How many tickets are put at once: writes that wait together share a flush.
const AT_ONCE: usize = 64;
/// The pause before a queue that is full is asked again. Workers make room meanwhile.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// What a recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// How many evaluations have not ended.
    pub live: u64,
    /// How many of them had no ticket, and have one now.
    pub requeued: u64,
    /// Evaluations that cannot be read, so that nobody knows whether they have ended. They are left as they are.
    pub corrupt: Vec<CorruptRecord>,
}

/// What can go wrong with a recovery. What was done of it stays done; it can be run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The storage could not be read.
    #[error("the evaluations that have not ended could not be listed")]
    Storage(#[from] StorageError),
    /// The queue did not take a ticket.
    #[error("an evaluation that has not ended could not be queued again")]
    Queue(#[from] QueueError),
}

impl Shared {
    /// Gives every evaluation that has not ended its ticket. One that has ended and still has a ticket needs nothing:
    /// whoever claims it finds that there is nothing to do.
    pub(super) async fn recover(&self) -> Result<RecoveryReport, RecoverError> {
        let mut report = RecoveryReport::default();
        let mut query = RecordQuery::new()
            .with_state(RecordState::Queued)
            .with_state(RecordState::Running)
            .with_limit(RecordQuery::LIMIT_MAX);
        loop {
            let page = self.storage.records(&query).await?;
            report.live += page.records.len() as u64;
            report.corrupt.extend(page.corrupt);
            let mut put = futures::stream::iter(page.records)
                .map(|record| self.requeue(record))
                .buffer_unordered(AT_ONCE);
            while let Some(new) = put.next().await {
                report.requeued += u64::from(new?);
            }
            drop(put);
            let Some(next) = page.next else { return Ok(report) };
            query = query.with_after(next);
        }
    }

    /// Puts the ticket of an evaluation that has not ended. `false` if it has one.
    async fn requeue(&self, record: Record) -> Result<bool, QueueError> {
        let evaluation = &record.evaluation;
        if let (Some(expires_in), 0) = (evaluation.expires_in, record.attempt) {
            let left =
                record.submitted_at.saturating_add(expires_in).saturating_since(Timestamp::now());
            self.expiring.add(record.id, left);
        }
        loop {
            let ticket = Ticket::new(record.id, evaluation.priority, evaluation.tenant.clone());
            match self.queue.enqueue(ticket).await {
                Ok(()) => return Ok(true),
                Err(QueueError::Duplicate { .. }) => return Ok(false),
                // It was accepted before, so it is not refused now.
                Err(QueueError::Full { .. }) => tokio::time::sleep(FULL_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}
