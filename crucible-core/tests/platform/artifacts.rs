//! Files that a run leaves: kept as blobs, and given back with the outcome.

use std::sync::Arc;

use bytes::Bytes;
use crucible_core::testing::{Fault, Faults, FaultyStorage};
use crucible_core::{Artifact, Collect, Digest, Evaluation, SkipReason, StorageError};

use crate::support::{House, command, within};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

/// The engine that plays a script leaves the files that it was given.
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
async fn they_are_kept_as_blobs_and_come_back() {
    let house = House::new();
    let crucible = house.build();
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
    // The journal has their names and hashes; their bytes are elsewhere.
    let kept = house.sound(handle.id()).await.0.outcome.unwrap();
    assert_eq!(shown(&kept.artifacts), [("out/a.txt", None), ("out/b.bin", None)]);
    // Whoever asks later, and elsewhere, gets the same.
    let elsewhere = house.build();
    assert_eq!(within(elsewhere.handle(handle.id()).outcome()).await.unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_away_for_a_while_gets_them_all_the_same() {
    let house = House::new();
    // It is away when the first of them comes, and at the end.
    let faults =
        Faults::planned(|call| if (4..20).contains(&call) { Fault::Before } else { Fault::None });
    let storage = FaultyStorage::new(Arc::clone(&house.storage), faults.clone());
    let crucible = house.builder().storage(storage).build().unwrap();
    let handle = crucible.submit(evaluation()).await.unwrap();
    house.ended(handle.id()).await;
    assert!(faults.calls() > 20, "it was away for a while");
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!((outcome.artifacts.len(), outcome.skipped.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_the_storage_does_not_take_is_listed_as_skipped() {
    let house = House::new();
    let storage = TamperedStorage::new(&house.storage, |call| match call {
        Call::PutBlob(content) if content.len() > 1000 => {
            Tampered::Fails(StorageError::Poisoned { reason: "a write failed".to_owned() })
        }
        _ => Tampered::Nothing,
    });
    let crucible = house.builder().storage(storage).build().unwrap();
    let outcome = within(crucible.evaluate(evaluation())).await.unwrap();
    assert!(outcome.is_success());
    assert_eq!(shown(&outcome.artifacts), [("out/a.txt", Some(Bytes::from_static(b"the first")))]);
    let skipped: Vec<_> =
        outcome.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.reason)).collect();
    assert_eq!(skipped, [("out/b.bin", SkipReason::NotStored)]);
}
