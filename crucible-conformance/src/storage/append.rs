//! Cases on appending to journals.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, EventKind, OutputStream, Record, RecordState, StorageError,
    StorageErrorKind, Timestamp,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::support::{
    Subject, append, assert_journal, evaluation, finished, put, sealed, started, submitted,
};

fn assert_refused(answer: Result<Record, StorageError>) {
    let kind = answer.as_ref().map_err(StorageError::kind);
    assert_eq!(kind.err(), Some(StorageErrorKind::Transition), "{answer:?}");
}

/// An append writes all events or none.
pub async fn append_is_all_or_nothing(storage: Subject) {
    let id = EvaluationId::new();
    let first = submitted(id, evaluation());
    let record = Record::apply(None, &first).unwrap();
    let mut events = vec![first];
    events.extend(sealed(&record, vec![started(1), EventKind::CancelRequested]));
    let record = storage.append(id, 0, events.clone()).await.unwrap();
    assert_eq!((record.state, record.sequence), (RecordState::Running, 3));
    assert_journal(&storage, id, &events).await;
    // The first event is valid. The second is not, because the evaluation was not requeued.
    let fits = record.next(finished());
    let after = Record::apply(Some(&record), &fits).unwrap();
    assert_refused(storage.append(id, 3, vec![fits, after.next(started(2))]).await);
    assert_journal(&storage, id, &events).await;
    let another = EvaluationId::new();
    let first = submitted(another, evaluation());
    let after = Record::apply(None, &first).unwrap();
    assert_refused(storage.append(another, 0, vec![first, after.next(finished())]).await);
    assert_journal(&storage, another, &[]).await;
}

/// A wrong expected length is a conflict that contains the actual length.
pub async fn wrong_expected_length_is_conflict_with_actual(storage: Subject) {
    let record = put(&storage).await;
    let old = sealed(&record, vec![EventKind::Expired]);
    let record = append(&storage, &record, vec![started(1), finished()]).await.unwrap();
    let unknown = EvaluationId::new();
    for (id, wrong, actual) in
        [(record.id, 1, 3), (record.id, 0, 3), (record.id, 4, 3), (unknown, 1, 0)]
    {
        match storage.append(id, wrong, old.clone()).await {
            Err(StorageError::Conflict { evaluation, expected, actual: reported }) => {
                assert_eq!((evaluation, expected, reported), (id, wrong, actual));
            }
            other => panic!("{other:?} where {wrong} entries are expected and {actual} are there"),
        }
    }
    assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
    assert_eq!(storage.record(unknown).await.unwrap(), None);
}

/// Exactly one of several concurrent appends succeeds. The others return a conflict.
pub async fn concurrent_appends_let_exactly_one_succeed(storage: Subject) {
    for _ in 0..10 {
        let record = put(&storage).await;
        let mut writers = JoinSet::new();
        for number in 0..8 {
            let storage = Arc::clone(&storage);
            let kind = EventKind::Cancelled { reason: number.to_string(), outcome: None };
            let event = record.next(kind);
            writers.spawn(async move { storage.append(event.evaluation, 1, vec![event]).await });
        }
        let mut written = Vec::new();
        for answer in writers.join_all().await {
            match answer {
                Ok(record) => written.push(record),
                Err(StorageError::Conflict { actual: 2, .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(written.len(), 1, "{written:?}");
        assert_eq!(storage.record(record.id).await.unwrap(), written.pop());
    }
}

/// Each event must be valid for `Record::apply`.
pub async fn invalid_transition_is_refused(storage: Subject) {
    let record = put(&storage).await;
    let seal = |sequence, kind, previous| {
        Event::sealed(record.id, sequence, Timestamp::now(), kind, previous)
    };
    let head = record.head;
    for event in [
        // The wrong state, the wrong sequence, the wrong previous entry, the wrong attempt.
        seal(2, finished(), head),
        seal(3, started(1), head),
        seal(1, started(1), head),
        seal(2, started(1), Digest::of(b"another entry")),
        seal(2, started(2), head),
    ] {
        assert_refused(storage.append(record.id, 1, vec![event]).await);
    }
    assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
    let id = EvaluationId::new();
    let first = Event::sealed(id, 1, Timestamp::now(), EventKind::Expired, Digest::ZERO);
    assert_refused(storage.append(id, 0, vec![first]).await);
    assert_journal(&storage, id, &[]).await;
}

/// An event of another evaluation is refused, also as the first event.
pub async fn event_of_another_evaluation_is_refused(storage: Subject) {
    let (id, another) = (EvaluationId::new(), EvaluationId::new());
    assert_refused(storage.append(id, 0, vec![submitted(another, evaluation())]).await);
    assert_journal(&storage, id, &[]).await;
    assert_journal(&storage, another, &[]).await;
    let (mine, yours) = (put(&storage).await, put(&storage).await);
    let foreign = Event::sealed(yours.id, 2, Timestamp::now(), EventKind::Expired, mine.head);
    assert_refused(storage.append(mine.id, 1, vec![foreign]).await);
    assert_eq!(storage.record(mine.id).await.unwrap(), Some(mine));
    assert_eq!(storage.record(yours.id).await.unwrap(), Some(yours));
}

/// A signal is refused, whatever its sequence.
pub async fn signal_event_is_refused(storage: Subject) {
    let record = put(&storage).await;
    let record = append(&storage, &record, vec![started(1)]).await.unwrap();
    let output = || EventKind::Output {
        stream: OutputStream::Stdout,
        offset: 0,
        bytes: Bytes::from_static(b"x"),
    };
    let sealed = Event::sealed(record.id, 3, Timestamp::now(), output(), record.head);
    for signal in [Event::signal(record.id, 2, output()), sealed] {
        assert_refused(storage.append(record.id, 2, vec![signal]).await);
    }
    assert_eq!(storage.journal(record.id, 2).await.unwrap(), []);
}

/// An append without events returns the current record, and does not begin a journal.
pub async fn empty_append_returns_current_record(storage: Subject) {
    let record = put(&storage).await;
    assert_eq!(storage.append(record.id, 1, Vec::new()).await.unwrap(), record);
    let answer = storage.append(record.id, 0, Vec::new()).await;
    assert!(matches!(answer, Err(StorageError::Conflict { actual: 1, .. })), "{answer:?}");
    let unknown = EvaluationId::new();
    assert_refused(storage.append(unknown, 0, Vec::new()).await);
    assert_journal(&storage, unknown, &[]).await;
}

/// Dropping the future leaves all events appended or none.
pub async fn dropped_append_is_all_or_nothing(storage: Subject) {
    for micros in [0, 0, 50, 200, 500, 1000, 2000] {
        let id = EvaluationId::new();
        let first = submitted(id, evaluation());
        let record = Record::apply(None, &first).unwrap();
        let mut events = vec![first];
        events.extend(sealed(&record, vec![started(1), finished()]));
        let _dropped =
            timeout(Duration::from_micros(micros), storage.append(id, 0, events.clone())).await;
        // The dropped call may still be in progress. The next append shows its result.
        match storage.append(id, 0, events.clone()).await {
            Ok(_) | Err(StorageError::Conflict { actual: 3, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert_journal(&storage, id, &events).await;
    }
}
