//! The time to commit a batch to a redb store in a temporary directory.
//!
//! The store is opened with `Durability::Power`, so each commit waits for the device that `TMPDIR`
//! is on.

#![expect(clippy::expect_used, reason = "a failed step invalidates the benchmark")]

use criterion::{BenchmarkId, Criterion, Throughput};
use crucible_kv::{Durability, KvError, RedbBackend, Store};
use tokio::runtime::{Builder, Runtime};

/// The number of keys in a batch.
const BATCHES: [u32; 3] = [1, 16, 256];
/// About the size of a journal entry.
const VALUE: [u8; 512] = [b'x'; 512];
/// The number of different keys, which bounds the size of the store.
const KEYS: u32 = 4096;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let backend = RedbBackend::open(directory.path()).expect("the directory is new");
    let store = Store::open(backend, Durability::Power).expect("the store is new");
    commit(&mut criterion, &runtime, &store);
    runtime.block_on(store.close()).expect("the store closes");
    criterion.final_summary();
}

/// Measures a commit, per key.
fn commit(criterion: &mut Criterion, runtime: &Runtime, store: &Store) {
    let mut group = criterion.benchmark_group("kv_batch");
    for keys in BATCHES {
        group.throughput(Throughput::Elements(keys.into()));
        let mut next = 0;
        group.bench_function(BenchmarkId::new("commit", keys), |bencher| {
            bencher.iter(|| {
                let first = next;
                next = (next + keys) % KEYS;
                runtime.block_on(put(store, first, keys));
            });
        });
    }
    group.finish();
}

/// Writes `count` keys in one batch.
async fn put(store: &Store, first: u32, count: u32) {
    let written = store.write(move |transaction| {
        for key in first..first + count {
            transaction.put(key.to_be_bytes().to_vec(), VALUE.as_slice());
        }
        Ok::<_, KvError>(())
    });
    written.await.expect("the batch is committed");
}
