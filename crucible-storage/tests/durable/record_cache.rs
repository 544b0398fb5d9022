//! The record cache never hides the writes of another user of the store.

use std::sync::Arc;

use crucible_core::{
    Evaluation, EventKind, Record, RecordState, Storage, StorageError, verify_storage,
};
use crucible_storage::DurableStorage;

use crate::events::{append, finished, put, started};
use crate::storage_fixture::{StorageFixture, StorageLocation, memory, redb};

/// Uses two storages on one store, so that each cache becomes outdated.
async fn write_from_two_storages(location: &Arc<StorageLocation>) {
    let fixture = StorageFixture::open(location).await;
    let other = DurableStorage::open(&fixture.store, location.blobs()).await.unwrap();
    let large = Evaluation::command(["true"]).with_stdin(vec![b'i'; 50_000]);
    for evaluation in [Evaluation::command(["true"]).with_tenant("a"), large] {
        let queued = put(&fixture, evaluation).await.unwrap();
        let running = append(&other, &queued, started()).await.unwrap();
        // The cached record is queued. The write detects that it is running.
        match append(&fixture, &queued, started()).await {
            Err(StorageError::Conflict { expected: 1, actual: 2, .. }) => {}
            unexpected => panic!("{unexpected:?}"),
        }
        assert_eq!(fixture.record(queued.id).await.unwrap().as_ref(), Some(&running));
        let asked = append(&fixture, &running, EventKind::CancelRequested).await.unwrap();
        assert_eq!(other.record(queued.id).await.unwrap().as_ref(), Some(&asked));
        let ended = append(&other, &asked, finished(10, None)).await.unwrap();
        assert_eq!(ended.state, RecordState::Finished);
        assert_eq!(fixture.record(queued.id).await.unwrap().as_ref(), Some(&ended));
        match put_again(&fixture, &queued).await {
            Err(StorageError::Conflict { expected: 0, actual: 4, .. }) => {}
            unexpected => panic!("{unexpected:?}"),
        }
        assert!(verify_storage(&fixture).await.unwrap().is_sound());
        assert!(other.remove(ended.id, ended.sequence).await.unwrap());
        assert_eq!(fixture.record(ended.id).await.unwrap(), None);
    }
}

/// Appends the first entry of an existing journal again.
async fn put_again(storage: &dyn Storage, record: &Record) -> Result<Record, StorageError> {
    let first = storage.journal(record.id, 0).await?.remove(0);
    storage.append(record.id, 0, vec![first]).await
}

#[tokio::test]
async fn cache_detects_other_writers_in_memory() {
    write_from_two_storages(&memory()).await;
}

#[tokio::test]
async fn cache_detects_other_writers_on_disk() {
    write_from_two_storages(&redb()).await;
}
