//! Idempotency keys.

use std::sync::Arc;

use crucible_core::{Evaluation, EvaluationId, Record, RecordState, StorageError};
use tokio::task::JoinSet;

use super::support::{
    Subject, append, assert_journal, evaluation, put_that, refused, submitted, way_to,
};

fn with_key(tenant: &str, key: &str) -> Evaluation {
    evaluation().with_tenant(tenant).with_idempotency_key(key)
}

fn assert_taken(answer: Result<Record, StorageError>, key: &str, by: EvaluationId) {
    match answer {
        Err(StorageError::KeyTaken { key: taken, existing }) => {
            assert_eq!((taken.as_str(), existing), (key, by))
        }
        other => panic!("the storage returned {other:?} for the key of {by}"),
    }
}

/// A first event with an idempotency key that the tenant has used is refused. The error contains
/// the evaluation that has the key.
pub async fn key_used_by_same_tenant_is_taken(storage: Subject) {
    let first = put_that(&storage, with_key("a", "k")).await.unwrap();
    let id = EvaluationId::new();
    // Other differences between the evaluations do not matter.
    let second = with_key("a", "k").with_stdin("other").with_label("l", "v");
    assert_taken(storage.append(id, 0, vec![submitted(id, second)]).await, "k", first.id);
    assert_journal(&storage, id, &[]).await;
    put_that(&storage, with_key("a", "K")).await.expect("keys differ by case");
    put_that(&storage, evaluation().with_tenant("a"))
        .await
        .expect("an evaluation without a key is accepted");
    put_that(&storage, evaluation().with_tenant("a"))
        .await
        .expect("an evaluation without a key is accepted");
}

/// Another tenant can use the same key, whatever characters both names contain.
pub async fn key_used_by_another_tenant_is_free(storage: Subject) {
    let pairs = [
        ("a", "k"),
        ("b", "k"),
        ("", "k"),
        ("a", "bk"),
        ("ab", "k"),
        ("a\0", "k"),
        ("a", "\0k"),
        ("a/b", "k"),
    ];
    let mut owners = Vec::new();
    for (tenant, key) in pairs {
        owners.push(
            put_that(&storage, with_key(tenant, key)).await.expect("the pairs are different").id,
        );
    }
    for ((tenant, key), owner) in pairs.into_iter().zip(owners) {
        assert_taken(put_that(&storage, with_key(tenant, key)).await, key, owner);
    }
}

/// Exactly one of several concurrent submissions with one key is stored. The others return its id.
pub async fn concurrent_submits_with_one_key_store_exactly_one(storage: Subject) {
    for round in 0..10 {
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            let storage = Arc::clone(&storage);
            writers
                .spawn(async move { put_that(&storage, with_key("a", &round.to_string())).await });
        }
        let (mut stored, mut taken) = (Vec::new(), Vec::new());
        for answer in writers.join_all().await {
            match answer {
                Ok(record) => stored.push(record.id),
                Err(StorageError::KeyTaken { existing, .. }) => taken.push(existing),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(stored.len(), 1, "{stored:?}");
        assert!(taken.iter().all(|id| *id == stored[0]), "{taken:?} differ from {stored:?}");
    }
}

/// An evaluation keeps its key after its end, in every state.
pub async fn key_stays_taken_after_evaluation_ends(storage: Subject) {
    for state in RecordState::ALL {
        let key = state.name();
        let record = put_that(&storage, with_key("a", key)).await.unwrap();
        let record = append(&storage, &record, way_to(state)).await.unwrap();
        assert_eq!(record.state, state);
        assert_taken(put_that(&storage, with_key("a", key)).await, key, record.id);
    }
}

/// A refused evaluation releases its key. Another evaluation can take and keep it.
pub async fn refused_evaluation_releases_its_key(storage: Subject) {
    let first = put_that(&storage, with_key("a", "k")).await.unwrap();
    let first = append(&storage, &first, vec![refused()]).await.unwrap();
    assert!(first.is_refused());
    let second = put_that(&storage, with_key("a", "k")).await.expect("the key is free again");
    assert_taken(put_that(&storage, with_key("a", "k")).await, "k", second.id);
    // The refused record can still be read.
    assert_eq!(storage.record(first.id).await.unwrap(), Some(first));
}
