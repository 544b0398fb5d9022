//! Cases on removal.

use std::sync::Arc;

use bytes::Bytes;
use crucible_core::{
    Artifact, EventKind, Outcome, Record, RecordPage, RecordQuery, RecordState, SandboxPath,
    StorageError,
};
use tokio::task::JoinSet;

use super::support::{
    Subject, append, assert_journal, evaluation, failed, finished, put, put_that, refused, started,
    way_to,
};

/// Stores these blobs and a finished evaluation that references them as artifacts.
async fn put_blobs_and_references(storage: &Subject, contents: &[&'static [u8]]) -> Record {
    for content in contents {
        storage.put_blob(Bytes::from_static(content)).await.unwrap();
    }
    put_references(storage, contents).await
}

/// Stores a finished evaluation that references these blobs as artifacts.
async fn put_references(storage: &Subject, contents: &[&'static [u8]]) -> Record {
    let artifacts = contents.iter().enumerate().map(|(index, content)| {
        let path = SandboxPath::new(format!("file{index}")).unwrap();
        let mut artifact = Artifact::new(path, Bytes::from_static(content), false);
        artifact.content = None;
        artifact
    });
    let outcome = Outcome::new("fake", Vec::new()).with_artifacts(artifacts.collect(), Vec::new());
    let finished = EventKind::Finished { outcome: Arc::new(outcome) };
    let record = put(storage).await;
    append(storage, &record, vec![started(1), finished]).await.unwrap()
}

async fn has(storage: &Subject, content: &'static [u8]) -> bool {
    let kept = storage.blob(crucible_core::Digest::of(content)).await.unwrap();
    assert!(kept.as_ref().is_none_or(|kept| kept == content));
    kept.is_some()
}

/// No query finds a removed evaluation. Others are unchanged.
pub async fn removed_evaluation_cannot_be_found(storage: Subject) {
    let evaluation = || evaluation().with_tenant("a").with_label("course", "x");
    let mut records = Vec::new();
    for state in RecordState::ALL.into_iter().cycle().take(24) {
        let record = put_that(&storage, evaluation()).await.unwrap();
        records.push(append(&storage, &record, way_to(state)).await.unwrap());
    }
    let queries = [
        RecordQuery::new(),
        RecordQuery::new().with_newest_first(),
        RecordQuery::new().with_state(RecordState::Finished).with_state(RecordState::Failed),
        RecordQuery::new().with_tenant("a"),
        RecordQuery::new().with_label("course", "x").with_state(RecordState::Expired),
        RecordQuery::new().with_submitted(Some(records[0].submitted_at), None),
    ];
    while let Some(place) = records.iter().position(|record| record.state.is_terminal()) {
        let record = records.remove(place);
        assert!(storage.remove(record.id, record.sequence).await.unwrap());
        assert_journal(&storage, record.id, &[]).await;
        for query in &queries {
            let mut expected: Vec<_> =
                records.iter().filter(|record| query.matches(record)).cloned().collect();
            if query.newest_first {
                expected.reverse();
            }
            assert_eq!(
                storage.records(query).await.unwrap(),
                RecordPage::new(expected, None),
                "{query:?}"
            );
        }
    }
    assert_eq!(records.len(), 8, "the evaluations that have not ended remain");
    for record in records {
        assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
    }
}

/// An evaluation that has not ended is not removed.
pub async fn unended_evaluation_is_not_removed(storage: Subject) {
    for way in [Vec::new(), vec![started(1)], vec![started(1), EventKind::CancelRequested]] {
        let record = put(&storage).await;
        let record = append(&storage, &record, way).await.unwrap();
        match storage.remove(record.id, record.sequence).await {
            Err(StorageError::NotEnded { evaluation, state }) => {
                assert_eq!((evaluation, state), (record.id, record.state));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
    }
}

/// A wrong expected length is a conflict that contains the actual length, and nothing is removed.
pub async fn remove_with_wrong_length_is_conflict(storage: Subject) {
    let record = put(&storage).await;
    let record = append(&storage, &record, vec![started(1), finished()]).await.unwrap();
    for wrong in [0, 2, 4] {
        match storage.remove(record.id, wrong).await {
            Err(StorageError::Conflict { evaluation, expected, actual: 3 }) => {
                assert_eq!((evaluation, expected), (record.id, wrong));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
}

/// Removing an unknown or removed evaluation returns `false`.
pub async fn remove_of_unknown_evaluation_returns_false(storage: Subject) {
    for expected in [0, 1] {
        assert!(!storage.remove(crucible_core::EvaluationId::new(), expected).await.unwrap());
    }
    let record = put(&storage).await;
    let record = append(&storage, &record, vec![failed()]).await.unwrap();
    assert!(storage.remove(record.id, record.sequence).await.unwrap());
    assert!(!storage.remove(record.id, record.sequence).await.unwrap());
}

/// A removed evaluation releases its key. Removing a refused evaluation does not take the key from
/// its new owner.
pub async fn removed_evaluation_releases_its_key(storage: Subject) {
    let with_key = || evaluation().with_tenant("a").with_idempotency_key("once");
    let first = put_that(&storage, with_key()).await.unwrap();
    let first = append(&storage, &first, vec![refused()]).await.unwrap();
    let second = put_that(&storage, with_key()).await.unwrap();
    assert!(storage.remove(first.id, first.sequence).await.unwrap());
    let answer = put_that(&storage, with_key()).await;
    assert!(
        matches!(answer, Err(StorageError::KeyTaken { existing, .. }) if existing == second.id)
    );
    let second = append(&storage, &second, vec![failed()]).await.unwrap();
    assert!(storage.remove(second.id, second.sequence).await.unwrap());
    put_that(&storage, with_key()).await.unwrap();
}

/// A blob is removed with the last evaluation that references it.
pub async fn blob_is_removed_with_its_last_reference(storage: Subject) {
    let first = put_blobs_and_references(&storage, &[b"shared", b"its own"]).await;
    // An evaluation with two references to a blob adds and removes both.
    let second = put_blobs_and_references(&storage, &[b"shared", b"shared"]).await;
    assert!(storage.remove(first.id, first.sequence).await.unwrap());
    assert!(has(&storage, b"shared").await && !has(&storage, b"its own").await);
    assert!(storage.remove(second.id, second.sequence).await.unwrap());
    assert!(!has(&storage, b"shared").await);
    // A new write restores the blob.
    let third = put_blobs_and_references(&storage, &[b"shared"]).await;
    assert!(has(&storage, b"shared").await);
    assert!(storage.remove(third.id, third.sequence).await.unwrap());
    assert!(!has(&storage, b"shared").await);
}

/// A blob without a reference yet survives the removal of other evaluations.
pub async fn unreferenced_blob_survives_removal_of_others(storage: Subject) {
    let first = put_blobs_and_references(&storage, &[b"shared"]).await;
    storage.put_blob(Bytes::from_static(b"shared")).await.unwrap();
    assert!(storage.remove(first.id, first.sequence).await.unwrap());
    assert!(has(&storage, b"shared").await, "the blob was written again");
    let second = put_references(&storage, &[b"shared"]).await;
    assert!(has(&storage, b"shared").await);
    assert!(storage.remove(second.id, second.sequence).await.unwrap());
    assert!(!has(&storage, b"shared").await);
}

/// Exactly one of several concurrent removals succeeds, while others write the same blob.
pub async fn concurrent_removes_let_exactly_one_succeed(storage: Subject) {
    for _ in 0..10 {
        let old = put_blobs_and_references(&storage, &[b"contested"]).await;
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let storage = Arc::clone(&storage);
            tasks.spawn(
                async move { usize::from(storage.remove(old.id, old.sequence).await.unwrap()) },
            );
        }
        for _ in 0..4 {
            let storage = Arc::clone(&storage);
            tasks.spawn(async move {
                let record = put_blobs_and_references(&storage, &[b"contested"]).await;
                assert!(has(&storage, b"contested").await, "the blob was written and referenced");
                assert!(storage.remove(record.id, record.sequence).await.unwrap());
                0
            });
        }
        assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 1);
        assert!(!has(&storage, b"contested").await, "the blob has no reference");
    }
}
