//! A write that fails, at every write that there is: what was acknowledged is there, and all of it fits.

use bytes::Bytes;
use crucible_core::{
    Evaluation, Record, RecordQuery, Storage as _, StorageError, StorageErrorKind,
};
use crucible_kv::testing::{Fault, FaultyBackend, MemoryBackend};
use crucible_kv::{Durability, Store};
use crucible_storage::DurableStorage;

use crate::events::{all, append, assert_sound, finished, put, started};
use crate::storage_fixture::{StorageFixture, StorageLocation};

const LARGE: usize = 50_000;

/// Writes, ends and removes evaluations until something fails. `acknowledged` is what must be there afterwards.
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
            // It is there before and after, in one of two states.
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
async fn after_any_failed_write_everything_acknowledged_is_there_and_fits() {
    let mut failures = 0;
    for fault in [Fault::Lost, Fault::Flush, Fault::Full] {
        for number in 0.. {
            let disk = MemoryBackend::new();
            let place = StorageLocation::over(disk.clone());
            let faulty = FaultyBackend::new(disk.clone());
            let faults = faulty.faults();
            let store = Store::open(faulty, Durability::Power).unwrap();
            let storage = DurableStorage::open(&store, place.blobs()).await.unwrap();
            faults.fail_commit(number, fault);
            let mut acknowledged = Vec::new();
            let worked = work(&storage, &mut acknowledged).await;
            let Err(error) = worked else { break };
            failures += 1;
            let expected = if fault == Fault::Full {
                StorageErrorKind::Full
            } else {
                StorageErrorKind::Poisoned
            };
            assert_eq!(error.kind(), expected, "{error:?}");
            if fault == Fault::Full {
                // There is room again, and work goes on.
                put(&storage, Evaluation::command(["true"])).await.unwrap();
            } else {
                let again = put(&storage, Evaluation::command(["true"])).await.unwrap_err();
                assert_eq!(again.kind(), StorageErrorKind::Poisoned);
            }
            drop(storage);
            // A poisoned store says so once more.
            let _poisoned = store.close().await;
            let kept = StorageFixture::open(&place).await;
            assert_sound(&kept, &disk).await;
            let found = all(&kept, &RecordQuery::new()).await;
            for record in acknowledged {
                let found = found.iter().find(|found| found.id == record.id);
                assert!(found.is_some_and(|found| found.sequence >= record.sequence), "{record:?}");
            }
        }
    }
    assert!(failures > 30, "{failures}");
}
