//! Writing to a journal, and telling everybody.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::journal::{Event, EventKind, Record};
use crate::model::{EvaluationId, WorkerId};
use crate::monitor::Monitor as _;
use crate::storage::StorageError;

/// How often somebody else may write first before we believe that something is wrong.
const CONFLICTS_MAX: u32 = 100;

/// The right to write as the one who runs an evaluation. The journal says whether it still holds.
#[derive(Debug)]
pub(super) struct Right<'a> {
    pub(super) worker: &'a WorkerId,
    pub(super) attempt: u32,
}

/// Whether something was written as the one who runs an evaluation.
#[derive(Debug)]
pub(super) enum Committed {
    /// The event is in the journal.
    Written,
    /// Somebody else runs the evaluation now, or it has ended: nothing was written.
    Lost,
}

/// The pauses between asking a storage that is away: from 20 ms, doubling, up to 2 s, for ten minutes in all.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    (0..300_u32).map(|round| Duration::from_millis(20 << round.min(7)).min(Duration::from_secs(2)))
}

/// The events of these kinds that follow `record`, and the record that follows from them.
fn seal(record: &Record, kinds: Vec<EventKind>) -> Result<(Vec<Event>, Record), StorageError> {
    let mut events = Vec::with_capacity(kinds.len());
    let mut next = record.clone();
    for kind in kinds {
        let event = next.next(kind);
        next = Record::apply(Some(&next), &event)
            .map_err(|source| StorageError::Transition { evaluation: record.id, source })?;
        events.push(event);
    }
    Ok((events, next))
}

impl Shared {
    /// Appends events that follow from `record`, and tells everybody.
    pub(super) async fn commit(
        &self,
        record: &Record,
        kinds: Vec<EventKind>,
    ) -> Result<Record, StorageError> {
        let (events, next) = seal(record, kinds)?;
        self.write(record.id, events).await?;
        Ok(next)
    }

    /// Appends events, and tells everybody. A storage whose answer was lost is asked whether it has them.
    pub(super) async fn write(
        &self,
        id: EvaluationId,
        events: Vec<Event>,
    ) -> Result<(), StorageError> {
        let _turn = self.turns.take(id).await;
        let expected = events.first().map_or(0, |event| event.sequence - 1);
        if let Err(error) = self.storage.append(id, expected, events.clone()).await
            && !(error.is_retryable() && self.has_written(id, &events).await.unwrap_or(false))
        {
            return Err(error);
        }
        for event in events {
            self.tell(event).await;
        }
        Ok(())
    }

    /// Whether these events are in the journal.
    async fn has_written(&self, id: EvaluationId, events: &[Event]) -> Result<bool, StorageError> {
        let Some(first) = events.first() else { return Ok(true) };
        let journal = self.storage.journal(id, first.sequence - 1).await?;
        Ok(journal.len() >= events.len()
            && journal.iter().zip(events).all(|(a, b)| a.hash == b.hash))
    }

    /// Passes an event to monitors and bus. A bus that is away loses nothing: the journal has the event.
    pub(super) async fn tell(&self, event: Event) {
        self.monitors.observe(&event);
        let (id, kind) = (event.evaluation, event.kind.name());
        if let Err(error) = self.bus.publish(Arc::new(event)).await {
            tracing::warn!(%id, event = kind, %error, "an event was not published");
        }
    }

    /// Appends an event as the one who runs the evaluation: again after somebody else wrote first (a request to cancel
    /// does), again while the storage is away, until `lost` says that the lease is gone.
    pub(super) async fn commit_running(
        &self,
        id: EvaluationId,
        right: &Right<'_>,
        kind: &EventKind,
        lost: &CancellationToken,
    ) -> Result<Committed, StorageError> {
        let mut pauses = pauses();
        let mut conflicts = 0;
        // What may be in the journal although the storage did not say so.
        let mut unsure = None;
        loop {
            match self.commit_once(id, right, kind, &mut unsure).await {
                Ok(committed) => return Ok(committed),
                Err(StorageError::Conflict { .. }) if conflicts < CONFLICTS_MAX => conflicts += 1,
                Err(error) if error.is_retryable() => {
                    let name = kind.name();
                    tracing::warn!(%id, event = name, %error, "the storage did not take an event; trying again");
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = lost.cancelled() => return Ok(Committed::Lost),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn commit_once(
        &self,
        id: EvaluationId,
        right: &Right<'_>,
        kind: &EventKind,
        unsure: &mut Option<Event>,
    ) -> Result<Committed, StorageError> {
        if let Some(event) = unsure.as_ref() {
            let _turn = self.turns.take(id).await;
            if self.has_written(id, std::slice::from_ref(event)).await? {
                self.tell(event.clone()).await;
                return Ok(Committed::Written);
            }
            *unsure = None;
        }
        let Some(record) =
            self.storage.record(id).await?.filter(|now| now.is_run_by(right.worker, right.attempt))
        else {
            return Ok(Committed::Lost);
        };
        let (events, _) = seal(&record, vec![kind.clone()])?;
        *unsure = events.first().cloned();
        match self.write(id, events).await {
            Ok(()) => Ok(Committed::Written),
            Err(error) => {
                if !error.is_retryable() {
                    *unsure = None;
                }
                Err(error)
            }
        }
    }
}
