//! What a storage believes to know of a record is never more than a guess.

use std::sync::Arc;

use crucible_core::{
    Evaluation, EventKind, Record, RecordState, Storage, StorageError, verify_storage,
};
use crucible_storage::DurableStorage;

use crate::events::{append, finished, put, started};
use crate::storage_fixture::{StorageFixture, StorageLocation, memory, redb};

/// Two storages on one map: each writes behind the other's back.
async fn behind_its_back(place: &Arc<StorageLocation>) {
    let kept = StorageFixture::open(place).await;
    let other = DurableStorage::open(&kept.store, place.blobs()).await.unwrap();
    let large = Evaluation::command(["true"]).with_stdin(vec![b'i'; 50_000]);
    for evaluation in [Evaluation::command(["true"]).with_tenant("a"), large] {
        let queued = put(&kept, evaluation).await.unwrap();
        let running = append(&other, &queued, started()).await.unwrap();
        // It knows it as queued, and finds in the write that it is not.
        match append(&kept, &queued, started()).await {
            Err(StorageError::Conflict { expected: 1, actual: 2, .. }) => {}
            unexpected => panic!("{unexpected:?}"),
        }
        assert_eq!(kept.record(queued.id).await.unwrap().as_ref(), Some(&running));
        let asked = append(&kept, &running, EventKind::CancelRequested).await.unwrap();
        assert_eq!(other.record(queued.id).await.unwrap().as_ref(), Some(&asked));
        let ended = append(&other, &asked, finished(10, None)).await.unwrap();
        assert_eq!(ended.state, RecordState::Finished);
        assert_eq!(kept.record(queued.id).await.unwrap().as_ref(), Some(&ended));
        match put_again(&kept, &queued).await {
            Err(StorageError::Conflict { expected: 0, actual: 4, .. }) => {}
            unexpected => panic!("{unexpected:?}"),
        }
        assert!(verify_storage(&kept).await.unwrap().is_sound());
        assert!(other.remove(ended.id, ended.sequence).await.unwrap());
        assert_eq!(kept.record(ended.id).await.unwrap(), None);
    }
}

/// The first entry of a journal that is there.
async fn put_again(storage: &dyn Storage, record: &Record) -> Result<Record, StorageError> {
    let first = storage.journal(record.id, 0).await?.remove(0);
    storage.append(record.id, 0, vec![first]).await
}

#[tokio::test]
async fn what_another_has_written_is_found_in_memory() {
    behind_its_back(&memory()).await;
}

#[tokio::test]
async fn what_another_has_written_is_found_on_a_disk() {
    behind_its_back(&redb()).await;
}
