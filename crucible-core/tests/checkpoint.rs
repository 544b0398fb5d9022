//! Checkpoints detect the removal of journals and of their newest entries.

#![expect(clippy::unwrap_used, reason = "helpers of a test may panic like the test itself")]

use std::sync::Arc;

use crucible_core::checkpoint::{Checkpoint, CheckpointError, CheckpointKey, heads, verify_heads};
use crucible_core::{
    Digest, ErrorReport, Evaluation, EvaluationId, Event, EventKind, Record, Storage, Timestamp,
    WorkerId,
};
use crucible_storage::MemoryStorage;

/// Stores an evaluation with one to three journal entries.
async fn store(storage: &MemoryStorage, id: EvaluationId, entries: usize) -> Record {
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
async fn growth_is_valid_and_removal_is_detected() {
    let storage = MemoryStorage::new();
    let mut ids: Vec<_> = (0..1100).map(|_| EvaluationId::new()).collect();
    ids.sort_unstable();
    for id in &ids {
        store(&storage, *id, 2).await;
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
    store(&storage, EvaluationId::new(), 1).await;
    verify_heads(&storage, &stated).await.unwrap();

    // The newest entry is removed; a journal of the same length is forged; a journal is removed.
    for (entries, missing) in [(Some(1), false), (Some(2), false), (None, true)] {
        let tampered = MemoryStorage::new();
        for id in &ids[..10] {
            match entries {
                Some(entries) if *id == ids[3] => drop(store(&tampered, *id, entries).await),
                None if *id == ids[3] => {}
                _ => {
                    let journal = storage.journal(*id, 0).await.unwrap();
                    tampered.append(*id, 0, journal).await.unwrap();
                }
            }
        }
        match verify_heads(&tampered, &stated[..10]).await {
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
