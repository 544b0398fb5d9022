//! Corrupt data is named, and affects nothing else.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use crucible_core::{
    Digest, Evaluation, EvaluationId, RecordQuery, Storage as _, StorageErrorKind, verify_storage,
};
use crucible_kv::testing::MemoryBackend;
use crucible_storage::DurableStorage;

use crate::events::{append, finished, put, run, started};
use crate::storage_fixture::{StorageFixture, StorageLocation};

const LARGE: usize = 50_000;

/// Returns a storage with evaluations of all kinds, and the entries of its store.
async fn filled() -> (StorageFixture, BTreeMap<Bytes, Bytes>) {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    let evaluation = || Evaluation::command(["true"]).with_tenant("a").with_label("course", "x");
    run(&fixture, evaluation(), 10, Some(b"artifact")).await.unwrap();
    run(&fixture, evaluation().with_idempotency_key("k"), LARGE, None).await.unwrap();
    put(&fixture, evaluation().with_stdin(vec![b'i'; LARGE])).await.unwrap();
    let record = put(&fixture, evaluation()).await.unwrap();
    append(&fixture, &record, started()).await.unwrap();
    (fixture, disk.entries())
}

/// Returns the evaluation of a key in the store.
fn evaluation_of(key: &[u8]) -> Option<EvaluationId> {
    Some(EvaluationId::from_bytes(key.strip_prefix(b"se")?.get(..16)?.try_into().unwrap()))
}

#[tokio::test]
async fn changed_byte_affects_its_evaluation_only() {
    let (fixture, entries) = filled().await;
    let mut detected = 0;
    for (key, value) in &entries {
        if value.is_empty() {
            continue;
        }
        let mut changed = entries.clone();
        let mut bytes = value.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        changed.insert(key.clone(), bytes.into());
        let location = StorageLocation::over(MemoryBackend::with_entries(changed));
        let store = location.store();
        let Ok(storage) = DurableStorage::open(&store, fixture.location.blobs()).await else {
            assert_eq!(key, "s.format");
            continue;
        };
        let page = storage.records(&RecordQuery::new()).await.unwrap();
        assert_eq!(page.records.len() + page.corrupt.len(), 4, "{key:?}");
        let found = verify_storage(&storage).await.unwrap();
        if let Some(owner) = evaluation_of(key) {
            let wrong: Vec<_> = found.wrong.iter().map(|wrong| wrong.evaluation).collect();
            assert_eq!(wrong, [owner], "{found:?}");
            detected += 1;
        }
        // The indexes by tenant and label return the same page.
        for query in
            [RecordQuery::new().with_tenant("a"), RecordQuery::new().with_label("course", "x")]
        {
            assert_eq!(storage.records(&query).await.unwrap(), page);
        }
    }
    assert!(detected >= 4 + 3 + 3 + 1 + 2, "{detected} rows and entries");
}

#[tokio::test]
async fn swapped_value_is_detected() {
    let (fixture, entries) = filled().await;
    let rows: Vec<_> =
        entries.keys().filter(|key| key.starts_with(b"se") && key.ends_with(&[0; 8])).collect();
    let mut swapped = entries.clone();
    swapped.insert(rows[0].clone(), entries[rows[1]].clone());
    let store = StorageLocation::over(MemoryBackend::with_entries(swapped)).store();
    let storage = DurableStorage::open(&store, fixture.location.blobs()).await.unwrap();
    let found = verify_storage(&storage).await.unwrap();
    assert_eq!(found.wrong.len(), 1, "{found:?}");
}

#[tokio::test]
async fn missing_entry_is_detected() {
    let (fixture, entries) = filled().await;
    for key in entries.keys().filter(|key| key.starts_with(b"se") && !key.ends_with(&[0; 8])) {
        let mut cut = entries.clone();
        cut.remove(key);
        let store = StorageLocation::over(MemoryBackend::with_entries(cut)).store();
        let storage = DurableStorage::open(&store, fixture.location.blobs()).await.unwrap();
        let owner = evaluation_of(key).unwrap();
        let error = storage.journal(owner, 0).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Corrupt);
        assert!(error.to_string().contains(&owner.to_string()), "{error}");
        let found = verify_storage(&storage).await.unwrap();
        assert_eq!(found.wrong.iter().map(|wrong| wrong.evaluation).collect::<Vec<_>>(), [owner]);
    }
}

#[tokio::test]
async fn corrupt_file_is_named_and_affects_no_other() {
    let (fixture, _) = filled().await;
    let files = fixture.location.blob_files();
    assert_eq!(files.len(), 3);
    for file in files {
        let content = fs::read(&file).unwrap();
        let digest = Digest::of(&content);
        let mut changed = content.clone();
        *changed.last_mut().unwrap() ^= 1;
        for corrupt in [Some(&changed[..]), Some(&content[..content.len() / 2]), Some(&[]), None] {
            match corrupt {
                Some(corrupt) => fs::write(&file, corrupt).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let found = verify_storage(&fixture).await.unwrap();
            assert_eq!((found.evaluations, found.wrong.len()), (4, 1), "{found:?}");
            assert!(found.wrong[0].problem.contains(&digest.to_string()), "{found:?}");
            let error = fixture.blob(digest).await.unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::Corrupt);
            // Putting the same bytes again repairs the file.
            fixture.put_blob(content.clone().into()).await.unwrap();
            assert!(verify_storage(&fixture).await.unwrap().is_sound());
        }
    }
}

#[tokio::test]
async fn corrupt_time_index_does_not_stop_work() {
    let (fixture, mut entries) = filled().await;
    for (key, value) in &mut entries {
        if key.starts_with(b"sb") {
            *value = Bytes::from_static(b"corrupt");
        }
    }
    let disk = MemoryBackend::with_entries(entries);
    let store = StorageLocation::over(disk).store();
    let storage = DurableStorage::open(&store, fixture.location.blobs()).await.unwrap();
    let record = put(&storage, Evaluation::command(["true"])).await.unwrap();
    let record = append(&storage, &record, started()).await.unwrap();
    let record = append(&storage, &record, finished(0, None)).await.unwrap();
    let query = RecordQuery::new().with_submitted(Some(record.submitted_at), None);
    assert_eq!(storage.records(&query).await.unwrap().records, std::slice::from_ref(&record));
    assert!(storage.remove(record.id, record.sequence).await.unwrap());
    assert_eq!(storage.records(&RecordQuery::new()).await.unwrap().records.len(), 4);
}
