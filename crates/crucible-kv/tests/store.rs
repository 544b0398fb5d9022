//! The contract of a store, over in-memory backends.

#![expect(clippy::unwrap_used, reason = "a helper may panic, as the test itself may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crucible_kv::testing::{BackendFault, CrashImages, FaultyBackend, MemoryBackend};
use crucible_kv::{
    Backend as _, Durability, KEY_MAX, KvError, KvErrorKind, Range, Store, VALUE_MAX, WriteError,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The time limit of every wait, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn store(backend: impl crucible_kv::Backend) -> Store {
    Store::open(backend, Durability::Power).unwrap()
}

async fn put(
    store: &Store,
    key: &'static str,
    value: &'static str,
) -> Result<(), WriteError<KvError>> {
    store
        .write(move |transaction| {
            transaction.put(key, value);
            Ok(())
        })
        .await
}

/// Blocks the writer until the returned sender is dropped, so that all writes in between form one
/// group.
async fn block_writer(store: &Store) -> oneshot::Sender<()> {
    let (release, released) = oneshot::channel::<()>();
    let (began, begun) = oneshot::channel();
    let store = store.clone();
    tokio::spawn(async move {
        let blocked = store.write(move |_| {
            began.send(()).unwrap();
            assert!(released.blocking_recv().is_err());
            Ok::<_, KvError>(())
        });
        blocked.await.unwrap();
    });
    begun.await.unwrap();
    release
}

#[tokio::test]
async fn written_entries_survive_reopen() {
    let disk = MemoryBackend::new();
    let first = store(disk.clone());
    put(&first, "a", "1").await.unwrap();
    put(&first, "b", "2").await.unwrap();
    assert_eq!(first.get("a").await.unwrap(), Some("1".into()));
    first
        .write(|transaction| {
            transaction.delete("a");
            Ok::<_, KvError>(())
        })
        .await
        .unwrap();
    assert_eq!(first.get("a").await.unwrap(), None);
    first.close().await.unwrap();
    assert_eq!(store(disk).scan(Range::all(), 9).await.unwrap(), [("b".into(), "2".into())]);
}

#[tokio::test]
async fn open_beyond_strongest_level_is_refused() {
    let weak = MemoryBackend::new().with_strongest(Durability::Process);
    let error = Store::open(weak.clone(), Durability::Power).unwrap_err();
    assert_eq!(error.kind(), KvErrorKind::UnsupportedDurability);
    assert!(
        error.to_string().contains("`power`") && error.to_string().contains("`process`"),
        "{error}"
    );
    assert_eq!(Store::open(weak, Durability::Process).unwrap().durability(), Durability::Process);
}

#[tokio::test]
async fn write_sees_earlier_writes_of_its_group() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    let faults = backend.faults();
    let store = store(backend);
    put(&store, "0", "stored").await.unwrap();
    let before = faults.commits();
    let release = block_writer(&store).await;
    let counts: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let write = store.write(|transaction| {
                    let entries = transaction.scan(&Range::all(), 100)?;
                    let (last, _) = entries.last().cloned().unwrap();
                    transaction.put([&last[..], b"0"].concat(), "");
                    assert_eq!(transaction.get(&[&last[..], b"0"].concat())?, Some(Bytes::new()));
                    Ok::<_, KvError>(entries.len())
                });
                write.await.unwrap()
            })
        })
        .collect();
    while !format!("{store:?}").contains("jobs: 20") {
        tokio::task::yield_now().await;
    }
    drop(release);
    let mut seen = Vec::new();
    for count in counts {
        seen.push(count.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(1..=20));
    assert_eq!(faults.commits() - before, 1, "all writes are in one group");
}

#[tokio::test]
async fn aborted_write_does_not_affect_its_group() {
    let store = store(MemoryBackend::new());
    let release = block_writer(&store).await;
    let aborted = store.write(|transaction| {
        transaction.put("aborted", "");
        Err::<(), _>("no")
    });
    let (before, aborted, after) = tokio::join!(put(&store, "before", ""), aborted, async {
        let write = put(&store, "after", "");
        drop(release);
        write.await
    });
    before.unwrap();
    after.unwrap();
    assert!(matches!(aborted, Err(WriteError::Aborted("no"))));
    let keys: Vec<_> =
        store.scan(Range::all(), 9).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["after", "before"]);
}

#[tokio::test]
async fn panic_in_write_reaches_its_caller_only() {
    let store = store(MemoryBackend::new());
    let panics = store.clone();
    let panicked = tokio::spawn(async move {
        let write = panics.write(|transaction| {
            transaction.put("panicked", "");
            std::panic::resume_unwind(Box::new("on purpose"));
            #[expect(unreachable_code, reason = "determines the type of the closure")]
            Ok::<(), KvError>(())
        });
        write.await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    put(&store, "a", "").await.unwrap();
    assert_eq!(store.get("panicked").await.unwrap(), None);
}

#[tokio::test]
async fn invalid_length_fails_whole_write() {
    let store = store(MemoryBackend::new());
    let write = |key: usize, value: usize| {
        let store = store.clone();
        async move {
            let write = store.write(move |transaction| {
                transaction.put(vec![b'k'; key], vec![b'v'; value]);
                transaction.put("beside", "");
                Ok::<_, KvError>(())
            });
            write.await
        }
    };
    for (key, value) in [(0, 0), (KEY_MAX + 1, 0), (1, VALUE_MAX + 1)] {
        let Err(WriteError::Store(error)) = write(key, value).await else {
            panic!("the write succeeded")
        };
        assert_eq!(error.kind(), KvErrorKind::InvalidLength, "{error}");
        assert_eq!(store.scan(Range::all(), 9).await.unwrap(), []);
    }
    write(KEY_MAX, VALUE_MAX).await.unwrap();
    assert_eq!(store.get(vec![b'k'; KEY_MAX]).await.unwrap().unwrap().len(), VALUE_MAX);
}

#[tokio::test]
async fn full_disk_fails_write_and_store_stays_usable() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    let faults = backend.faults();
    let store = store(backend);
    faults.fail_commit(0, BackendFault::Full);
    let Err(WriteError::Store(error)) = put(&store, "a", "").await else {
        panic!("the write succeeded")
    };
    assert_eq!(error.kind(), KvErrorKind::Full);
    assert!(error.is_retryable());
    assert_eq!(store.get("a").await.unwrap(), None);
    put(&store, "a", "again").await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some("again".into()));
    store.close().await.unwrap();
}

#[tokio::test]
async fn commit_with_unknown_result_poisons_store() {
    for fault in [BackendFault::Lost, BackendFault::Flush, BackendFault::Panic] {
        let backend = FaultyBackend::new(MemoryBackend::new());
        let faults = backend.faults();
        let store = store(backend);
        put(&store, "a", "1").await.unwrap();
        faults.fail_commit(0, fault);
        for key in ["b", "c"] {
            let Err(WriteError::Store(error)) = put(&store, key, "").await else {
                panic!("the write succeeded")
            };
            assert_eq!(error.kind(), KvErrorKind::Poisoned);
            assert!(error.to_string().contains("a commit failed"), "{error}");
        }
        assert_eq!(faults.commits(), 2, "no further commits");
        assert!(store.poisoned().is_some());
        assert_eq!(store.get("a").await.unwrap(), Some("1".into()));
        assert_eq!(store.compact().await.unwrap_err().kind(), KvErrorKind::Poisoned);
        assert_eq!(store.close().await.unwrap_err().kind(), KvErrorKind::Poisoned);
    }
}

#[tokio::test]
async fn failed_read_affects_its_caller_only() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    let faults = backend.faults();
    let store = store(backend);
    put(&store, "a", "1").await.unwrap();
    faults.fail_read(0, BackendFault::Corrupt);
    assert_eq!(store.get("a").await.unwrap_err().kind(), KvErrorKind::Corrupt);
    faults.fail_read(0, BackendFault::Corrupt);
    let write = store.write(|transaction| transaction.get(b"a")).await;
    assert!(matches!(write, Err(WriteError::Aborted(KvError::Corrupt { .. }))));
    assert_eq!(store.get("a").await.unwrap(), Some("1".into()));
    put(&store, "b", "").await.unwrap();
}

#[tokio::test]
async fn write_later_is_visible_to_writes_and_committed_soon() {
    let disk = CrashImages::new();
    let store = store(disk.clone());
    let write = store.write_later(|transaction| {
        transaction.put("later", "");
        Ok::<_, KvError>(7)
    });
    assert_eq!(write.await.unwrap(), 7);
    let seen = store.write(|transaction| transaction.get(b"later")).await.unwrap();
    assert_eq!(seen, Some(Bytes::new()));
    store
        .write_later(|transaction| {
            transaction.put("alone", "");
            Ok::<_, KvError>(())
        })
        .await
        .unwrap();
    let written = async {
        while disk.get(b"alone").unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, written).await.unwrap();
}

/// Submits a write through a permit, and counts its failure. The closure fails if `fails` is set.
async fn submit(store: &Store, key: &'static str, fails: bool, failures: &Arc<AtomicUsize>) {
    let failures = Arc::clone(failures);
    let write = move |transaction: &mut crucible_kv::Transaction<'_>| {
        transaction.put(key, "");
        if fails { Err(KvError::Closed) } else { Ok(()) }
    };
    let failed = move || {
        failures.fetch_add(1, Ordering::SeqCst);
    };
    store.reserve().await.unwrap().write(write, failed).unwrap();
}

#[tokio::test]
async fn permit_write_is_visible_and_committed_unawaited() {
    let disk = CrashImages::new();
    let store = store(disk.clone());
    let failures = Arc::default();
    drop(store.reserve().await.unwrap());
    submit(&store, "submitted", false, &failures).await;
    submit(&store, "aborted", true, &failures).await;
    let seen = store.write(|transaction| transaction.get(b"submitted")).await.unwrap();
    assert_eq!((seen, failures.load(Ordering::SeqCst)), (Some(Bytes::new()), 1));
    assert_eq!(disk.get(b"aborted").unwrap(), None);
    submit(&store, "alone", false, &failures).await;
    let written = async {
        while disk.get(b"alone").unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, written).await.unwrap();
    // Submit more writes than the queue has slots, without a waiting caller.
    for _ in 0..5000 {
        timeout(DEADLINE, submit(&store, "many", false, &failures)).await.unwrap();
    }
    submit(&store, "last", false, &failures).await;
    store.close().await.unwrap();
    assert_eq!(disk.get(b"last").unwrap(), Some(Bytes::new()));
    assert_eq!(failures.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn permit_write_after_poisoning_calls_failed() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    let faults = backend.faults();
    let store = store(backend);
    let failures = Arc::default();
    let release = block_writer(&store).await;
    faults.fail_commit(0, BackendFault::Flush);
    let poisons = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "a", "").await.unwrap_err() }
    });
    let permit = store.reserve().await.unwrap();
    drop(release);
    poisons.await.unwrap();
    let failed = {
        let failures: Arc<AtomicUsize> = Arc::clone(&failures);
        move || {
            failures.fetch_add(1, Ordering::SeqCst);
        }
    };
    permit.write(|_| Ok::<_, KvError>(()), failed).unwrap();
    assert!(matches!(store.reserve().await, Err(KvError::Poisoned { .. })));
    store.close().await.unwrap_err();
    assert_eq!(failures.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn close_commits_submitted_writes_and_refuses_others() {
    let disk = MemoryBackend::new();
    let store = store(disk.clone());
    let other = store.clone();
    store
        .write_later(|transaction| {
            transaction.put("later", "");
            Ok::<_, KvError>(())
        })
        .await
        .unwrap();
    store.close().await.unwrap();
    assert_eq!(disk.get(b"later").unwrap(), Some(Bytes::new()));
    assert!(matches!(put(&other, "a", "").await, Err(WriteError::Store(KvError::Closed))));
    assert!(matches!(other.compact().await, Err(KvError::Closed)));
    assert_eq!(other.get("later").await.unwrap(), Some(Bytes::new()));
    other.close().await.unwrap();
}

#[tokio::test]
async fn orderly_close_makes_buffered_writes_durable() {
    let disk = CrashImages::new();
    let store = Store::open(disk.clone(), Durability::Buffered).unwrap();
    put(&store, "a", "").await.unwrap();
    assert_eq!(disk.survivors(disk.commits()), 0..=1);
    drop(store);
    assert_eq!(disk.survivors(disk.commits()), 2..=2);
}

#[tokio::test]
async fn write_closure_may_drop_last_clone() {
    let disk = MemoryBackend::new();
    let store = store(disk.clone());
    let last = store.clone();
    let write = tokio::spawn(async move {
        let inner = last.clone();
        let write = last.write(move |transaction| {
            transaction.put("a", "");
            drop(inner);
            Ok::<_, KvError>(())
        });
        // Drop the future after the write was queued.
        drop(timeout(Duration::from_millis(50), write).await);
    });
    let release = block_writer(&store).await;
    write.await.unwrap();
    drop(store);
    drop(release);
    let written = async {
        while disk.get(b"a").unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, written).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_write_is_made_whole_or_not_at_all() {
    let disk = MemoryBackend::new();
    let store = store(disk.clone());
    for round in 0..500_u64 {
        let write = store.write(move |transaction| {
            transaction.put([&b"a"[..], &round.to_be_bytes()].concat(), "");
            transaction.put([&b"b"[..], &round.to_be_bytes()].concat(), "");
            Ok::<_, KvError>(())
        });
        drop(timeout(Duration::from_micros(round % 50), write).await);
    }
    store.close().await.unwrap();
    let of = |prefix| {
        let entries = disk.scan(&Range::prefix(prefix), usize::MAX).unwrap();
        entries.into_iter().map(|(key, _)| key.slice(1..)).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), of("b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_beyond_queue_capacity_are_all_answered() {
    let store = store(MemoryBackend::new());
    let release = block_writer(&store).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..5000_u64)
        .map(|n| {
            let (store, answered) = (store.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let key = n.to_be_bytes().to_vec();
                store
                    .write(move |transaction| {
                        transaction.put(key, "");
                        Ok::<_, KvError>(())
                    })
                    .await
                    .unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    while !format!("{store:?}").contains("jobs: 1024") {
        tokio::task::yield_now().await;
    }
    assert_eq!(answered.load(Ordering::Relaxed), 0);
    drop(release);
    for writer in writers {
        timeout(DEADLINE, writer).await.unwrap().unwrap();
    }
    assert_eq!(store.scan(Range::all(), usize::MAX).await.unwrap().len(), 5000);
}

#[tokio::test]
async fn crash_images_contain_durable_commits_whole() {
    let disk = CrashImages::new();
    let store = store(disk.clone());
    for (key, other) in [("a", "A"), ("b", "B")] {
        let write = store.write(move |transaction| {
            transaction.put(key, "");
            transaction.put(other, "");
            Ok::<_, KvError>(())
        });
        write.await.unwrap();
    }
    assert_eq!(disk.commits(), 2);
    assert_eq!(disk.survivors(0), 0..=1);
    assert_eq!(disk.survivors(1), 1..=2);
    assert_eq!(disk.survivors(2), 2..=2);
    let keys = |image: MemoryBackend| image.entries().into_keys().collect::<Vec<_>>();
    assert_eq!(keys(disk.image(0)), [""; 0]);
    assert_eq!(keys(disk.image(1)), ["A", "a"]);
    assert_eq!(keys(disk.image(2)), ["A", "B", "a", "b"]);
}
