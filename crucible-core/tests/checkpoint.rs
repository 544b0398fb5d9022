//! What a checkpoint finds that a journal's own chain cannot.

#![expect(clippy::unwrap_used, reason = "in a test it is how a failure is reported")]

use std::sync::Arc;

use crucible_core::checkpoint::{Checkpoint, CheckpointError, CheckpointKey, heads, verify_heads};
use crucible_core::{
    Digest, ErrorReport, Evaluation, EvaluationId, Event, EventKind, Record, Storage, Timestamp,
    WorkerId,
};
use crucible_storage::MemoryStorage;

/// An evaluation with as many entries as asked for, up to three.
async fn put(storage: &MemoryStorage, id: EvaluationId, entries: usize) -> Record {
    let evaluation = Arc::new(Evaluation::shell("true"));
    let first =
        Event::sealed(id, 1, Timestamp::now(), EventKind::Submitted { evaluation }, Digest::ZERO);
    let mut record = Record::apply(None, &first).unwrap();
    let mut events = vec![first];
    let error = ErrorReport::new("lost", "gone");
    let kinds = [
        EventKind::Started { attempt: 1, worker: WorkerId::new("w"), engine: "e".to_owned() },
        EventKind::Failed { error },
    ];
    for kind in kinds.into_iter().take(entries - 1) {
        let event = record.next(kind);
        record = Record::apply(Some(&record), &event).unwrap();
        events.push(event);
    }
    storage.append(id, 0, events).await.unwrap()
}

#[tokio::test]
async fn growing_is_no_change_and_taking_away_is() {
    let storage = MemoryStorage::new();
    let mut ids: Vec<_> = (0..1100).map(|_| EvaluationId::new()).collect();
    ids.sort_unstable();
    for id in &ids {
        put(&storage, *id, 2).await;
    }
    let stated = heads(&storage).await.unwrap();
    assert_eq!(
        stated.iter().map(|head| head.evaluation).collect::<Vec<_>>(),
        ids,
        "all pages, in order"
    );
    let key = CheckpointKey::from_bytes(&[1; 32]);
    let checkpoint = Checkpoint::sign(&stated, &key);
    checkpoint.verify(&key.public()).unwrap();
    checkpoint.covers(&stated).unwrap();

    let record = storage.record(ids[3]).await.unwrap().unwrap();
    let event = record.next(EventKind::Failed { error: ErrorReport::new("lost", "gone") });
    storage.append(ids[3], 2, vec![event]).await.unwrap();
    put(&storage, EvaluationId::new(), 1).await;
    verify_heads(&storage, &stated).await.unwrap();

    // The newest entry gone; a journal of the same length made up; a journal gone.
    for (entries, missing) in [(Some(1), false), (Some(2), false), (None, true)] {
        let damaged = MemoryStorage::new();
        for id in &ids[..10] {
            match entries {
                Some(entries) if *id == ids[3] => drop(put(&damaged, *id, entries).await),
                None if *id == ids[3] => {}
                _ => {
                    let journal = storage.journal(*id, 0).await.unwrap();
                    damaged.append(*id, 0, journal).await.unwrap();
                }
            }
        }
        match verify_heads(&damaged, &stated[..10]).await {
            Err(CheckpointError::Missing { evaluation }) => {
                assert!(missing && evaluation == ids[3])
            }
            Err(CheckpointError::Changed { evaluation, sequence: 2 }) => {
                assert!(!missing && evaluation == ids[3]);
            }
            other => panic!("{other:?}"),
        }
    }
}
