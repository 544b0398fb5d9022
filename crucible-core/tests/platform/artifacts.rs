//! Artifacts: stored as blobs and returned with the outcome.

use std::sync::Arc;

use bytes::Bytes;
use crucible_core::testing::{Fault, Faults, FaultyStorage};
use crucible_core::{Artifact, Collect, Digest, Evaluation, SkipReason, StorageError};

use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{TestPlatform, command, within};

/// Returns an evaluation that collects its own input files.
fn evaluation() -> Evaluation {
    command("exit 0")
        .with_file("out/a.txt", "the first")
        .with_file("out/b.bin", vec![0xff; 100_000])
        .with_file("other", "not asked for")
        .with_collect(Collect::matching(["out/*"]))
}

fn shown(artifacts: &[Artifact]) -> Vec<(&str, Option<Bytes>)> {
    artifacts.iter().map(|artifact| (artifact.path.as_str(), artifact.content.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn artifacts_are_stored_as_blobs_and_returned() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(evaluation()).await.unwrap();
    let outcome = within(handle.outcome()).await.unwrap();
    let contents = [Bytes::from_static(b"the first"), Bytes::from(vec![0xff; 100_000])];
    let expected =
        [("out/a.txt", Some(contents[0].clone())), ("out/b.bin", Some(contents[1].clone()))];
    assert_eq!(shown(&outcome.artifacts), expected);
    assert!(outcome.skipped.is_empty());
    for content in contents {
        assert_eq!(crucible.blob(Digest::of(&content)).await.unwrap(), Some(content));
    }
    assert_eq!(crucible.blob(Digest::of(b"not asked for")).await.unwrap(), None);
    // The journal has the names and hashes of the artifacts, not their bytes.
    let kept = test.verified(handle.id()).await.0.outcome.unwrap();
    assert_eq!(shown(&kept.artifacts), [("out/a.txt", None), ("out/b.bin", None)]);
    // A later request on another host returns the same outcome.
    let elsewhere = test.build();
    assert_eq!(within(elsewhere.handle(handle.id()).outcome()).await.unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn unavailable_storage_gets_artifacts_when_it_returns() {
    let test = TestPlatform::new();
    // The storage is unavailable for the first artifact and for the final event.
    let faults =
        Faults::planned(|call| if (4..20).contains(&call) { Fault::Before } else { Fault::None });
    let storage = FaultyStorage::new(Arc::clone(&test.storage), faults.clone());
    let crucible = test.builder().storage(storage).build().unwrap();
    let handle = crucible.submit(evaluation()).await.unwrap();
    test.ended(handle.id()).await;
    assert!(faults.calls() > 20, "the storage was unavailable for several calls");
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!((outcome.artifacts.len(), outcome.skipped.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn rejected_artifact_is_listed_as_skipped() {
    let test = TestPlatform::new();
    let storage = InterceptedStorage::new(&test.storage, |call| match call {
        StorageCall::PutBlob(content) if content.len() > 1000 => {
            StorageIntercept::Fail(StorageError::Poisoned { reason: "a write failed".to_owned() })
        }
        _ => StorageIntercept::PassThrough,
    });
    let crucible = test.builder().storage(storage).build().unwrap();
    let outcome = within(crucible.evaluate(evaluation())).await.unwrap();
    assert!(outcome.is_success());
    assert_eq!(shown(&outcome.artifacts), [("out/a.txt", Some(Bytes::from_static(b"the first")))]);
    let skipped: Vec<_> =
        outcome.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.reason)).collect();
    assert_eq!(skipped, [("out/b.bin", SkipReason::NotStored)]);
}
