//! The right of an attempt to write to its journal.

use tokio_util::sync::CancellationToken;

use crate::journal::{Event, EventKind, Record};
use crate::model::{EvaluationId, WorkerId};
use crate::platform::backoff::retry_pauses;
use crate::platform::journal_writer::{JournalWriter, next_events};
use crate::storage::StorageError;

/// The number of conflicting writes in a row after which the guard reports the conflict.
const MAX_CONFLICTS: u32 = 100;

/// The right of an attempt to append events. The journal shows whether the attempt still has it.
#[derive(Debug)]
pub(super) struct AttemptGuard<'a> {
    journal: &'a JournalWriter,
    worker: &'a WorkerId,
    id: EvaluationId,
    attempt: u32,
    /// Cancelled when the lease of the attempt's claim is lost.
    pub(super) lease_lost: CancellationToken,
}

/// The result of [`AttemptGuard::append`].
#[derive(Debug)]
pub(super) enum GuardedAppend {
    /// The event is in the journal.
    Appended,
    /// Another attempt runs the evaluation, or the evaluation has ended. Nothing was appended.
    Lost,
}

impl<'a> AttemptGuard<'a> {
    /// Creates the guard of the attempt that `record` describes.
    pub(super) fn new(journal: &'a JournalWriter, worker: &'a WorkerId, record: &Record) -> Self {
        let lease_lost = CancellationToken::new();
        Self { journal, worker, id: record.id, attempt: record.attempt, lease_lost }
    }

    /// Appends an event of this kind.
    ///
    /// The guard tries again after a conflicting write, such as a cancel request. It also tries
    /// again while the storage is unavailable, until the lease is lost.
    pub(super) async fn append(&self, kind: &EventKind) -> Result<GuardedAppend, StorageError> {
        let mut pauses = retry_pauses();
        let mut conflicts = 0;
        // The event that the journal may have although the storage did not confirm it.
        let mut unconfirmed = None;
        loop {
            match self.append_once(kind, &mut unconfirmed).await {
                Ok(append) => return Ok(append),
                Err(StorageError::Conflict { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
                Err(error) if error.is_retryable() => {
                    let (id, event) = (self.id, kind.name());
                    tracing::warn!(%id, event, %error, "cannot append an event; trying again");
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.lease_lost.cancelled() => return Ok(GuardedAppend::Lost),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn append_once(
        &self,
        kind: &EventKind,
        unconfirmed: &mut Option<Event>,
    ) -> Result<GuardedAppend, StorageError> {
        if let Some(event) = unconfirmed.as_ref() {
            if self.journal.publish_if_stored(event).await? {
                return Ok(GuardedAppend::Appended);
            }
            *unconfirmed = None;
        }
        let current = self.journal.storage().record(self.id).await?;
        let Some(record) = current.filter(|now| now.is_run_by(self.worker, self.attempt)) else {
            return Ok(GuardedAppend::Lost);
        };
        let (events, _) = next_events(&record, vec![kind.clone()])?;
        *unconfirmed = events.first().cloned();
        match self.journal.append(self.id, events).await {
            Ok(()) => Ok(GuardedAppend::Appended),
            Err(error) => {
                if !error.is_retryable() {
                    *unconfirmed = None;
                }
                Err(error)
            }
        }
    }
}
