//! A failure of every possible write: acknowledged data exists, and the storage is consistent.

use bytes::Bytes;
use crucible_core::{
    Evaluation, Record, RecordQuery, Storage as _, StorageError, StorageErrorKind,
};
use crucible_kv::testing::{BackendFault, FaultyBackend, MemoryBackend};
use crucible_kv::{Durability, Store};
use crucible_storage::DurableStorage;

use crate::events::{all, append, assert_consistent, finished, put, started};
use crate::storage_fixture::{StorageFixture, StorageLocation};

const LARGE: usize = 50_000;

/// Submits, ends and removes evaluations until a call fails. `acknowledged` collects the records
/// that must exist afterwards.
async fn work(
    storage: &DurableStorage,
    acknowledged: &mut Vec<Record>,
) -> Result<(), StorageError> {
    for number in 0..4_usize {
        let mut evaluation =
            Evaluation::command(["true"]).with_tenant("a").with_label("n", number.to_string());
        evaluation.idempotency_key = (number % 2 == 0).then(|| number.to_string());
        if number == 1 {
            evaluation = evaluation.with_stdin(vec![b'i'; LARGE]);
        }
        acknowledged.push(put(storage, evaluation).await?);
        let artifact = [&b"one"[..], b"two"][number % 2];
        storage.put_blob(Bytes::copy_from_slice(artifact)).await?;
        for kind in [started(), finished(number * LARGE, Some(artifact))] {
            let record = acknowledged.pop().unwrap();
            // The record exists before and after the call, in one of two states.
            let written = append(storage, &record, kind).await;
            acknowledged.push(written.as_ref().unwrap_or(&record).clone());
            written?;
        }
        if number > 1 {
            let old = acknowledged.remove(0);
            storage.remove(old.id, old.sequence).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn failed_write_keeps_acknowledged_state_consistent() {
    let mut failures = 0;
    for fault in [BackendFault::Lost, BackendFault::Flush, BackendFault::Full] {
        for number in 0.. {
            let disk = MemoryBackend::new();
            let location = StorageLocation::over(disk.clone());
            let faulty = FaultyBackend::new(disk.clone());
            let faults = faulty.faults();
            let store = Store::open(faulty, Durability::Power).unwrap();
            let storage = DurableStorage::open(&store, location.blobs()).await.unwrap();
            faults.fail_commit(number, fault);
            let mut acknowledged = Vec::new();
            let worked = work(&storage, &mut acknowledged).await;
            let Err(error) = worked else { break };
            failures += 1;
            let expected = if fault == BackendFault::Full {
                StorageErrorKind::Full
            } else {
                StorageErrorKind::Poisoned
            };
            assert_eq!(error.kind(), expected, "{error:?}");
            if fault == BackendFault::Full {
                // The disk has space again, and the storage is usable.
                put(&storage, Evaluation::command(["true"])).await.unwrap();
            } else {
                let again = put(&storage, Evaluation::command(["true"])).await.unwrap_err();
                assert_eq!(again.kind(), StorageErrorKind::Poisoned);
            }
            drop(storage);
            // Closing a poisoned store returns the error once more.
            let _poisoned = store.close().await;
            let fixture = StorageFixture::open(&location).await;
            assert_consistent(&fixture, &disk).await;
            let found = all(&fixture, &RecordQuery::new()).await;
            for record in acknowledged {
                let found = found.iter().find(|found| found.id == record.id);
                assert!(found.is_some_and(|found| found.sequence >= record.sequence), "{record:?}");
            }
        }
    }
    assert!(failures > 30, "{failures}");
}
