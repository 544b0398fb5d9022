//! Helpers of the cases.

use std::sync::Arc;

use crucible_core::{
    Digest, ErrorReport, Evaluation, EvaluationId, Event, EventKind, Evidence, Outcome, Record,
    RecordState, Storage, StorageError, Timestamp, WorkerId,
};

pub(super) type Subject = Arc<dyn Storage>;

pub(super) fn evaluation() -> Evaluation {
    Evaluation::command(["true"])
}

pub(super) fn submitted(id: EvaluationId, evaluation: Evaluation) -> Event {
    let kind = EventKind::Submitted { evaluation: Arc::new(evaluation) };
    Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO)
}

pub(super) fn started(attempt: u32) -> EventKind {
    let worker = WorkerId::new("conformance/0");
    EventKind::Started { attempt, worker, engine: "fake".to_owned() }
}

pub(super) fn finished() -> EventKind {
    EventKind::Finished { outcome: Arc::new(Outcome::new("fake", Vec::new())) }
}

pub(super) fn cancelled() -> EventKind {
    let outcome = Outcome::new("fake", vec![Evidence::CancelledBeforeStart]);
    EventKind::Cancelled { reason: "on request".to_owned(), outcome: Some(Arc::new(outcome)) }
}

/// Returns the event that ends an evaluation that the queue refused.
pub(super) fn refused() -> EventKind {
    EventKind::Cancelled { reason: "not queued: the queue is full".to_owned(), outcome: None }
}

pub(super) fn failed() -> EventKind {
    EventKind::Failed { error: ErrorReport::new("poison", "three leases expired") }
}

/// Returns the events that bring a queued evaluation into `state`.
pub(super) fn way_to(state: RecordState) -> Vec<EventKind> {
    match state {
        RecordState::Queued => vec![],
        RecordState::Running => vec![started(1)],
        RecordState::Finished => vec![started(1), finished()],
        RecordState::Failed => vec![failed()],
        RecordState::Cancelled => vec![cancelled()],
        RecordState::Expired => vec![EventKind::Expired],
        other => panic!("the suite has no events for the state `{other}`"),
    }
}

/// Submits a minimal evaluation.
pub(super) async fn put(storage: &Subject) -> Record {
    put_that(storage, evaluation()).await.unwrap()
}

pub(super) async fn put_that(
    storage: &Subject,
    evaluation: Evaluation,
) -> Result<Record, StorageError> {
    let id = EvaluationId::new();
    storage.append(id, 0, vec![submitted(id, evaluation)]).await
}

/// Appends events of these kinds in one call.
pub(super) async fn append(
    storage: &Subject,
    record: &Record,
    kinds: Vec<EventKind>,
) -> Result<Record, StorageError> {
    storage.append(record.id, record.sequence, sealed(record, kinds)).await
}

/// Returns events of these kinds that follow `record`.
pub(super) fn sealed(record: &Record, kinds: Vec<EventKind>) -> Vec<Event> {
    let mut record = record.clone();
    let mut events = Vec::new();
    for kind in kinds {
        let event = record.next(kind);
        record = Record::apply(Some(&record), &event).expect("the suite creates valid events");
        events.push(event);
    }
    events
}

/// Asserts that the journal and the record of an evaluation agree with these events.
pub(super) async fn assert_journal(storage: &Subject, id: EvaluationId, expected: &[Event]) {
    assert_eq!(storage.journal(id, 0).await.unwrap(), expected);
    assert_eq!(storage.record(id).await.unwrap(), Record::fold(expected).unwrap());
}
