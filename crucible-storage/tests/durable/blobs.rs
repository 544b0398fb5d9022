//! Large data is in one file for as long as an entry refers to it.

use bytes::Bytes;
use crucible_core::{Digest, Evaluation, RecordQuery, Storage as _};
use crucible_kv::testing::MemoryBackend;

use crate::events::{all, assert_consistent, run};
use crate::storage_fixture::{StorageFixture, StorageLocation};

const LARGE: usize = 100_000;

fn evaluation() -> Evaluation {
    Evaluation::command(["true"])
}

#[tokio::test]
async fn large_entries_and_artifacts_are_files() {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    run(&fixture, evaluation(), 100, None).await.unwrap();
    assert!(fixture.location.blob_files().is_empty());
    run(&fixture, evaluation().with_stdin(vec![b'i'; LARGE]), LARGE, Some(b"artifact"))
        .await
        .unwrap();
    assert_eq!(fixture.location.blob_files().len(), 3, "input, output, artifact");
    run(&fixture, evaluation(), 100, Some(b"artifact")).await.unwrap();
    assert_eq!(fixture.location.blob_files().len(), 3, "equal artifacts share a file");
    assert!(disk.entries().values().all(|value| value.len() < 20_000));
    let before = all(&fixture, &RecordQuery::new()).await;
    let fixture = fixture.reopen().await;
    assert_consistent(&fixture, &disk).await;
    assert_eq!(all(&fixture, &RecordQuery::new()).await, before);
}

#[tokio::test]
async fn file_is_removed_with_last_reference() {
    let disk = MemoryBackend::new();
    let mut fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    for _ in 0..3 {
        run(&fixture, evaluation(), LARGE, Some(b"shared")).await.unwrap();
    }
    for remaining in (0..3).rev() {
        let records = all(&fixture, &RecordQuery::new()).await;
        assert!(fixture.remove(records[0].id, records[0].sequence).await.unwrap());
        assert_eq!(
            fixture.location.blob_files().len(),
            if remaining > 0 { remaining + 1 } else { 0 }
        );
        fixture = fixture.reopen().await;
        assert_consistent(&fixture, &disk).await;
    }
    let keys: Vec<_> = disk.entries().into_keys().collect();
    assert_eq!(keys, ["s.format"], "the store contains no other keys");
}

#[tokio::test]
async fn reopen_removes_unreferenced_blobs() {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    let digest =
        fixture.put_blob(Bytes::from_static(b"put by a worker that crashed")).await.unwrap();
    std::fs::write(fixture.location.blobs().join("tmp").join("0"), "half").unwrap();
    run(&fixture, evaluation(), 0, Some(b"referenced")).await.unwrap();
    assert!(fixture.blob(digest).await.unwrap().is_some());
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.blob(digest).await.unwrap(), None);
    assert_eq!(fixture.blob(Digest::of(b"referenced")).await.unwrap().unwrap(), "referenced");
    assert_consistent(&fixture, &disk).await;
}

#[tokio::test]
async fn refused_append_leaves_no_file() {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    let with_key = || evaluation().with_idempotency_key("once").with_stdin(vec![b'i'; LARGE]);
    crate::events::put(&fixture, with_key()).await.unwrap();
    let answer = crate::events::put(&fixture, with_key()).await;
    assert_eq!(answer.unwrap_err().kind(), crucible_core::StorageErrorKind::KeyTaken);
    assert_eq!(fixture.location.blob_files().len(), 1);
    assert_consistent(&fixture, &disk).await;
}
