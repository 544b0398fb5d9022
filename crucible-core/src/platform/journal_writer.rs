//! The writer of journals.

use std::fmt;
use std::sync::Arc;

use super::keyed_locks::KeyedLocks;
use crate::bus::EventBus;
use crate::journal::{Event, EventKind, Record};
use crate::model::EvaluationId;
use crate::monitor::{Monitor as _, Monitors};
use crate::storage::{Storage, StorageError};

/// Appends events to journals and passes them to monitors and bus, in journal order.
///
/// All writes of a platform go through its writer.
pub(super) struct JournalWriter {
    storage: Arc<dyn Storage>,
    bus: Arc<dyn EventBus>,
    monitors: Monitors,
    locks: KeyedLocks,
}

/// The result of [`JournalWriter::append_decided`].
#[derive(Debug)]
pub(super) struct DecidedAppend {
    /// The record on which the decision was based.
    pub(super) seen: Record,
    /// `true` if an event was appended.
    pub(super) appended: bool,
}

impl JournalWriter {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        bus: Arc<dyn EventBus>,
        monitors: Monitors,
    ) -> Self {
        Self { storage, bus, monitors, locks: KeyedLocks::default() }
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(super) fn bus(&self) -> &dyn EventBus {
        &*self.bus
    }

    /// Appends events of these kinds after `record` and returns the new record.
    pub(super) async fn append_next(
        &self,
        record: &Record,
        kinds: Vec<EventKind>,
    ) -> Result<Record, StorageError> {
        let (events, next) = next_events(record, kinds)?;
        self.append(record.id, events).await?;
        Ok(next)
    }

    /// Appends events and publishes them.
    ///
    /// If the answer of the storage was lost, the writer reads the journal to see whether it has
    /// the events.
    pub(super) async fn append(
        &self,
        id: EvaluationId,
        events: Vec<Event>,
    ) -> Result<(), StorageError> {
        let _lock = self.locks.acquire(id).await;
        let expected = events.first().map_or(0, |event| event.sequence - 1);
        if let Err(error) = self.storage.append(id, expected, events.clone()).await
            && !(error.is_retryable() && self.contains(id, &events).await.unwrap_or(false))
        {
            return Err(error);
        }
        for event in events {
            self.publish(event).await;
        }
        Ok(())
    }

    /// Appends the event that `decide` returns for the current record, and decides again after each
    /// conflict. Returns `None` if there is no such evaluation.
    pub(super) async fn append_decided(
        &self,
        id: EvaluationId,
        decide: impl Fn(&Record) -> Option<EventKind> + Send + Sync,
    ) -> Result<Option<DecidedAppend>, StorageError> {
        loop {
            let Some(seen) = self.storage.record(id).await? else { return Ok(None) };
            let Some(kind) = decide(&seen) else {
                return Ok(Some(DecidedAppend { seen, appended: false }));
            };
            match self.append_next(&seen, vec![kind]).await {
                Ok(_) => return Ok(Some(DecidedAppend { seen, appended: true })),
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Publishes an event if the journal has it. Returns `false` if the journal does not have it.
    pub(super) async fn publish_if_stored(&self, event: &Event) -> Result<bool, StorageError> {
        let _lock = self.locks.acquire(event.evaluation).await;
        let stored = self.contains(event.evaluation, std::slice::from_ref(event)).await?;
        if stored {
            self.publish(event.clone()).await;
        }
        Ok(stored)
    }

    /// Passes an event to monitors and bus. An unavailable bus loses no entry: the journal has it.
    pub(super) async fn publish(&self, event: Event) {
        self.monitors.observe(&event);
        let (id, kind) = (event.evaluation, event.kind.name());
        if let Err(error) = self.bus.publish(Arc::new(event)).await {
            tracing::warn!(%id, event = kind, %error, "cannot publish an event");
        }
    }

    /// Returns `true` if the journal has these events.
    async fn contains(&self, id: EvaluationId, events: &[Event]) -> Result<bool, StorageError> {
        let Some(first) = events.first() else { return Ok(true) };
        let journal = self.storage.journal(id, first.sequence - 1).await?;
        Ok(journal.len() >= events.len()
            && journal.iter().zip(events).all(|(a, b)| a.hash == b.hash))
    }
}

impl fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalWriter")
            .field("storage", &self.storage)
            .field("bus", &self.bus)
            .finish_non_exhaustive()
    }
}

/// Returns the events of these kinds that follow `record`, and the record after them.
pub(super) fn next_events(
    record: &Record,
    kinds: Vec<EventKind>,
) -> Result<(Vec<Event>, Record), StorageError> {
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
