//! Idempotency keys.

use std::sync::Arc;

use crucible_core::{Evaluation, EvaluationId, Record, RecordState, StorageError};
use tokio::task::JoinSet;

use super::support::{Subject, append, assert_journal, evaluation, put_that, refused, submitted, way_to};

fn with_key(tenant: &str, key: &str) -> Evaluation {
    evaluation().with_tenant(tenant).with_idempotency_key(key)
}

fn assert_taken(answer: Result<Record, StorageError>, key: &str, by: EvaluationId) {
    match answer {
        Err(StorageError::KeyTaken { key: said, existing }) => assert_eq!((said.as_str(), existing), (key, by)),
        other => panic!("{other:?} where the key belongs to {by}"),
    }
}

/// A first event with an idempotency key that the tenant has used is refused, and names who has it.
pub async fn key_used_by_same_tenant_is_taken(storage: Subject) {
    let first = put_that(&storage, with_key("a", "k")).await.unwrap();
    let id = EvaluationId::new();
    // Whatever else is different.
    let second = with_key("a", "k").with_stdin("other").with_label("l", "v");
    assert_taken(storage.append(id, 0, vec![submitted(id, second)]).await, "k", first.id);
    assert_journal(&storage, id, &[]).await;
    put_that(&storage, with_key("a", "K")).await.expect("keys differ by case");
    put_that(&storage, evaluation().with_tenant("a")).await.expect("no key is never taken");
    put_that(&storage, evaluation().with_tenant("a")).await.expect("no key is never taken");
}

/// Another tenant can use the same key, whatever the names of both are made of.
pub async fn key_used_by_another_tenant_is_free(storage: Subject) {
    let pairs = [("a", "k"), ("b", "k"), ("", "k"), ("a", "bk"), ("ab", "k"), ("a\0", "k"), ("a", "\0k"), ("a/b", "k")];
    let mut owners = Vec::new();
    for (tenant, key) in pairs {
        owners.push(put_that(&storage, with_key(tenant, key)).await.expect("no pair is another").id);
    }
    for ((tenant, key), owner) in pairs.into_iter().zip(owners) {
        assert_taken(put_that(&storage, with_key(tenant, key)).await, key, owner);
    }
}

/// Of many evaluations that are submitted at once with one key, exactly one is stored, and the others are told which.
pub async fn concurrent_submits_with_one_key_store_exactly_one(storage: Subject) {
    for round in 0..10 {
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            let storage = Arc::clone(&storage);
            writers.spawn(async move { put_that(&storage, with_key("a", &round.to_string())).await });
        }
        let (mut stored, mut told) = (Vec::new(), Vec::new());
        for answer in writers.join_all().await {
            match answer {
                Ok(record) => stored.push(record.id),
                Err(StorageError::KeyTaken { existing, .. }) => told.push(existing),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(stored.len(), 1, "{stored:?}");
        assert!(told.iter().all(|id| *id == stored[0]), "{told:?} where {stored:?} was stored");
    }
}

/// Whoever has a key keeps it, however it ends.
pub async fn key_stays_taken_after_evaluation_ends(storage: Subject) {
    for state in RecordState::ALL {
        let key = state.name();
        let record = put_that(&storage, with_key("a", key)).await.unwrap();
        let record = append(&storage, &record, way_to(state)).await.unwrap();
        assert_eq!(record.state, state);
        assert_taken(put_that(&storage, with_key("a", key)).await, key, record.id);
    }
}

/// A record that is refused has no key any more: another evaluation can take it, and keeps it.
pub async fn refused_evaluation_releases_its_key(storage: Subject) {
    let first = put_that(&storage, with_key("a", "k")).await.unwrap();
    let first = append(&storage, &first, vec![refused()]).await.unwrap();
    assert!(first.is_refused());
    let second = put_that(&storage, with_key("a", "k")).await.expect("the key is free again");
    assert_taken(put_that(&storage, with_key("a", "k")).await, "k", second.id);
    // It is still there to be read.
    assert_eq!(storage.record(first.id).await.unwrap(), Some(first));
}
