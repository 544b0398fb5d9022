//! What is large is in files, once, for as long as something names it.

use bytes::Bytes;
use crucible_core::{Digest, Evaluation, RecordQuery, Storage as _};
use crucible_kv::testing::MemoryBackend;

use crate::events::{all, assert_sound, run};
use crate::storage_fixture::{StorageFixture, StorageLocation};

const LARGE: usize = 100_000;

fn evaluation() -> Evaluation {
    Evaluation::command(["true"])
}

#[tokio::test]
async fn large_entries_and_artifacts_are_files_and_small_entries_are_not() {
    let disk = MemoryBackend::new();
    let kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    run(&kept, evaluation(), 100, None).await.unwrap();
    assert!(kept.location.blob_files().is_empty());
    run(&kept, evaluation().with_stdin(vec![b'i'; LARGE]), LARGE, Some(b"artifact")).await.unwrap();
    assert_eq!(kept.location.blob_files().len(), 3, "input, output, artifact");
    run(&kept, evaluation(), 100, Some(b"artifact")).await.unwrap();
    assert_eq!(kept.location.blob_files().len(), 3, "the same artifact is the same file");
    assert!(disk.entries().values().all(|value| value.len() < 20_000));
    let before = all(&kept, &RecordQuery::new()).await;
    let kept = kept.reopen().await;
    assert_sound(&kept, &disk).await;
    assert_eq!(all(&kept, &RecordQuery::new()).await, before);
}

#[tokio::test]
async fn files_go_with_the_last_evaluation_that_names_them() {
    let disk = MemoryBackend::new();
    let mut kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    for _ in 0..3 {
        run(&kept, evaluation(), LARGE, Some(b"shared")).await.unwrap();
    }
    for left in (0..3).rev() {
        let records = all(&kept, &RecordQuery::new()).await;
        assert!(kept.remove(records[0].id, records[0].sequence).await.unwrap());
        assert_eq!(kept.location.blob_files().len(), if left > 0 { left + 1 } else { 0 });
        kept = kept.reopen().await;
        assert_sound(&kept, &disk).await;
    }
    let left: Vec<_> = disk.entries().into_keys().collect();
    assert_eq!(left, ["s.format"], "nothing of them is left in the map either");
}

#[tokio::test]
async fn what_nobody_has_named_is_gone_when_it_is_opened_again() {
    let disk = MemoryBackend::new();
    let kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    let digest = kept.put_blob(Bytes::from_static(b"left by a worker that died")).await.unwrap();
    std::fs::write(kept.location.blobs().join("tmp").join("0"), "half").unwrap();
    run(&kept, evaluation(), 0, Some(b"named")).await.unwrap();
    assert!(kept.blob(digest).await.unwrap().is_some());
    let kept = kept.reopen().await;
    assert_eq!(kept.blob(digest).await.unwrap(), None);
    assert_eq!(kept.blob(Digest::of(b"named")).await.unwrap().unwrap(), "named");
    assert_sound(&kept, &disk).await;
}

#[tokio::test]
async fn an_append_that_is_refused_leaves_no_file() {
    let disk = MemoryBackend::new();
    let kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    let with_key = || evaluation().with_idempotency_key("once").with_stdin(vec![b'i'; LARGE]);
    crate::events::put(&kept, with_key()).await.unwrap();
    let answer = crate::events::put(&kept, with_key()).await;
    assert_eq!(answer.unwrap_err().kind(), crucible_core::StorageErrorKind::KeyTaken);
    assert_eq!(kept.location.blob_files().len(), 1);
    assert_sound(&kept, &disk).await;
}
