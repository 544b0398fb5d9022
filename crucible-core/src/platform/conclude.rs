//! Writing down how an attempt went.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::attempt::{STORAGE_PAUSE, Settled};
use super::commit::{Committed, Right};
use super::shared::Shared;
use crate::engine::EngineError;
use crate::journal::{EventKind, Record, RequeueReason};
use crate::model::ErrorReport;
use crate::result::{Evidence, Outcome, SkipReason, Skipped, Verdict};
use crate::storage::StorageError;

impl Shared {
    pub(super) async fn finish(
        &self,
        record: &Record,
        right: &Right<'_>,
        result: Result<Outcome, EngineError>,
        lost: &CancellationToken,
    ) -> Settled {
        let id = record.id;
        let (kind, settled) = match result {
            Ok(outcome) => self.concluded(record, outcome, lost).await,
            Err(error) => self.failed(record, &error),
        };
        match self.commit_running(id, right, &kind, lost).await {
            Ok(Committed::Written) => settled,
            Ok(Committed::Lost) => {
                tracing::warn!(%id, "an attempt ended after its lease; its result is dropped");
                Settled::Lost
            }
            Err(error) => {
                tracing::error!(%id, %error, "the end of an attempt could not be written");
                Settled::Nack(STORAGE_PAUSE)
            }
        }
    }

    /// What an outcome means for the journal and for the ticket.
    async fn concluded(
        &self,
        record: &Record,
        mut outcome: Outcome,
        lost: &CancellationToken,
    ) -> (EventKind, Settled) {
        self.store_artifacts(record, &mut outcome, lost).await;
        if *outcome.verdict() != Verdict::Cancelled {
            return (EventKind::Finished { outcome: Arc::new(outcome) }, Settled::Ack);
        }
        if self.asked_to_cancel(record).await {
            return (cancelled("on request", outcome), Settled::Ack);
        }
        let unstarted = outcome.evidence().contains(&Evidence::CancelledBeforeStart);
        if !self.abort.is_cancelled() {
            let what = "it says that the run was cancelled, which nobody had asked for".to_owned();
            return self.failed(record, &EngineError::Protocol { what, started: !unstarted });
        }
        // The platform is closing. What had not started, or may run twice, is left for the next worker.
        if unstarted || record.evaluation.retry.idempotent {
            return requeued(record);
        }
        (cancelled("the platform was shut down", outcome), Settled::Ack)
    }

    /// What an infrastructure failure means for the journal and for the ticket.
    fn failed(&self, record: &Record, error: &EngineError) -> (EventKind, Settled) {
        let retry = &record.evaluation.retry;
        let may_repeat = !error.target_started() || retry.idempotent;
        if may_repeat && self.abort.is_cancelled() {
            return requeued(record);
        }
        let error_report = ErrorReport::from(error);
        if error.is_retryable() && may_repeat && record.attempt < retry.attempts {
            let retry_in = retry.pause(record.attempt);
            let kind =
                EventKind::AttemptFailed { attempt: record.attempt, error: error_report, retry_in };
            return (kind, Settled::Nack(retry_in));
        }
        (EventKind::Failed { error: error_report }, Settled::Ack)
    }

    async fn asked_to_cancel(&self, record: &Record) -> bool {
        match self.storage.record(record.id).await {
            Ok(Some(now)) => now.cancel_requested,
            // A run is cancelled on request or because the platform closes.
            Ok(None) | Err(_) => record.cancel_requested || !self.abort.is_cancelled(),
        }
    }

    /// Puts the bytes of artifacts into the storage's blobs. What the storage does not take is listed as skipped.
    async fn store_artifacts(
        &self,
        record: &Record,
        outcome: &mut Outcome,
        lost: &CancellationToken,
    ) {
        let mut stored = Vec::with_capacity(outcome.artifacts.len());
        for mut artifact in std::mem::take(&mut outcome.artifacts) {
            let content = artifact.content.take().unwrap_or_default();
            match self.put_blob(content, lost).await {
                Ok(()) => stored.push(artifact),
                Err(error) => {
                    tracing::error!(id = %record.id, path = %artifact.path, %error, "an artifact was not stored");
                    outcome
                        .skipped
                        .push(Skipped::new(artifact.path.as_str(), SkipReason::NotStored));
                }
            }
        }
        outcome.artifacts = stored;
    }

    async fn put_blob(&self, content: Bytes, lost: &CancellationToken) -> Result<(), StorageError> {
        let mut pauses = super::commit::pauses();
        loop {
            match self.storage.put_blob(content.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_retryable() && !lost.is_cancelled() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn cancelled(reason: &str, outcome: Outcome) -> EventKind {
    EventKind::Cancelled { reason: reason.to_owned(), outcome: Some(Arc::new(outcome)) }
}

fn requeued(record: &Record) -> (EventKind, Settled) {
    let kind = EventKind::Requeued { attempt: record.attempt, reason: RequeueReason::Shutdown };
    (kind, Settled::Nack(Duration::ZERO))
}
