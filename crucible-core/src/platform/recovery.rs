//! The recovery of tickets after a host died between storage and queue.

use std::time::Duration;

use futures::{TryStreamExt as _, future};

use super::platform::Platform;
use super::submission::ticket;
use crate::journal::{Record, RecordState};
use crate::model::Timestamp;
use crate::queue::QueueError;
use crate::storage::{CorruptRecord, RecordQuery, StorageError, StorageExt as _};

/// The number of concurrent calls to the queue. Concurrent writes share a flush.
const MAX_CONCURRENT: usize = 64;
/// The pause before another call to a full queue. Workers make room during the pause.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The result of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The number of evaluations that have not ended.
    pub live: u64,
    /// The number of live evaluations that had no ticket. They have one now.
    pub requeued: u64,
    /// Evaluations with a corrupt record. Whether they have ended is unknown, so they stay as is.
    pub corrupt: Vec<CorruptRecord>,
}

/// An error of a recovery. The restored tickets stay in the queue. The caller can run the recovery
/// again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The storage failed.
    #[error("cannot list the evaluations that have not ended")]
    Storage(#[from] StorageError),
    /// The queue failed.
    #[error("cannot enqueue an evaluation that has not ended")]
    Queue(#[from] QueueError),
}

/// Enqueues a ticket for every evaluation that has not ended and has none.
///
/// An ended evaluation may keep a ticket. The worker that claims it drops it.
pub(super) async fn recover(platform: &Platform) -> Result<RecoveryReport, RecoverError> {
    let query = RecordQuery::new()
        .with_state(RecordState::Queued)
        .with_state(RecordState::Running)
        .with_limit(RecordQuery::LIMIT_MAX);
    let mut report = RecoveryReport::default();
    let requeues = platform
        .storage()
        .records_stream(query)
        .map_err(RecoverError::Storage)
        .try_filter_map(|record| {
            match &record {
                Ok(_) => report.live += 1,
                Err(corrupt) => report.corrupt.push(corrupt.clone()),
            }
            future::ready(Ok(record.ok()))
        })
        .map_ok(|record| requeue(platform, record))
        .try_buffer_unordered(MAX_CONCURRENT);
    let requeued = requeues.try_fold(0, |sum, new| future::ready(Ok(sum + u64::from(new)))).await?;
    Ok(RecoveryReport { requeued, ..report })
}

/// Enqueues the ticket of an evaluation that has not ended. Returns `false` if it has one.
async fn requeue(platform: &Platform, record: Record) -> Result<bool, RecoverError> {
    if let (Some(expires_in), 0) = (record.evaluation.expires_in, record.attempt) {
        let expires_at = record.submitted_at.saturating_add(expires_in);
        platform.expiry.add(record.id, expires_at.saturating_since(Timestamp::now()));
    }
    loop {
        match platform.queue.enqueue(ticket(&record)).await {
            Ok(()) => return Ok(true),
            Err(QueueError::Duplicate { .. }) => return Ok(false),
            // The evaluation was accepted before, so a full queue does not refuse it now.
            Err(QueueError::Full { .. }) => tokio::time::sleep(FULL_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}
