//! The refusal of an evaluation that was stored but not enqueued.

use std::error::Error;
use std::sync::Arc;

use super::backoff::retry_pauses;
use super::platform::{Platform, is_unstarted};
use crate::journal::{EventKind, Record};
use crate::model::{EvaluationId, error_chain};
use crate::storage::StorageError;

/// The number of calls to an unavailable storage while the caller of `submit` waits, 600 ms in all.
const REFUSE_TRIES: usize = 5;

/// The refusal of a stored evaluation. It keeps workers from running a rejected evaluation.
#[derive(Debug)]
pub(super) struct Refusal {
    platform: Arc<Platform>,
    id: EvaluationId,
    reason: String,
}

impl Refusal {
    pub(super) fn new(platform: &Arc<Platform>, id: EvaluationId, error: &dyn Error) -> Self {
        Self { platform: Arc::clone(platform), id, reason: error_chain(error) }
    }

    /// Refuses the evaluation. Returns `true` if the queue has taken the ticket and only its answer
    /// was lost: then the evaluation is accepted.
    pub(super) async fn apply(self) -> bool {
        let mut pauses = retry_pauses().take(REFUSE_TRIES);
        loop {
            match (self.try_apply().await, pauses.next()) {
                (Ok(accepted), _) => return accepted,
                (Err(error), Some(pause)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await;
                }
                (Err(error), _) => {
                    let id = self.id;
                    tracing::warn!(%id, %error, "a refused evaluation is still stored as queued");
                    self.apply_later();
                    return false;
                }
            }
        }
    }

    /// Refuses the evaluation in a task of the platform, as soon as the storage is available.
    pub(super) fn apply_later(self) {
        let (platform, id) = (Arc::clone(&self.platform), self.id);
        let abort = self.platform.abort.clone();
        let task = async move {
            let refused = tokio::select! {
                refused = self.apply_or_cancel() => refused,
                () = abort.cancelled() => false,
            };
            if !refused {
                tracing::error!(%id, "a refused evaluation may still run");
            }
        };
        platform.tasks.spawn_on(task, &platform.runtime);
    }

    /// Refuses the evaluation, or cancels it if a worker has started it. Returns `false` if neither
    /// could be stored.
    async fn apply_or_cancel(&self) -> bool {
        for pause in retry_pauses() {
            tokio::time::sleep(pause).await;
            let refused = match self.try_apply().await {
                Ok(true) => self.platform.cancel(self.id).await.map(|_| ()),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            match refused {
                Ok(()) => return true,
                Err(error) if error.is_retryable() => {}
                Err(error) => {
                    tracing::error!(id = %self.id, %error, "cannot refuse an evaluation");
                    return false;
                }
            }
        }
        false
    }

    /// Refuses the evaluation unless a worker has started it. Returns `true` if the evaluation is
    /// accepted.
    async fn try_apply(&self) -> Result<bool, StorageError> {
        let decide = |record: &Record| {
            let reason = format!("not queued: {}", self.reason);
            is_unstarted(record).then_some(EventKind::Cancelled { reason, outcome: None })
        };
        match self.platform.journal.append_decided(self.id, decide).await? {
            None => Ok(false),
            Some(append) if append.appended => {
                self.platform.remove_ticket(self.id).await;
                Ok(false)
            }
            Some(append) => Ok(!append.seen.is_refused()),
        }
    }
}
