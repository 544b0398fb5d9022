//! The simplified load of a queue and a storage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crucible_kv::{KvError, Store};
use futures::future::join_all;

use crate::reference_log::ReferenceLog;
use crate::{ROUND, WRITERS};

const RECORD: usize = 1024;

/// The next id. Ids ascend, as evaluation ids do.
static NEXT: AtomicU64 = AtomicU64::new(1 << 32);

/// The next ticket to claim. Tickets are claimed in order.
static NEXT_CLAIMED: AtomicU64 = AtomicU64::new(1 << 32);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the key of an id.
pub(crate) fn key(kind: u8, id: u64) -> Vec<u8> {
    [&[kind][..], b"/00000000", &id.to_be_bytes()].concat()
}

/// Returns a record of random bytes, because some stores compress.
pub(crate) fn record(id: u64) -> Vec<u8> {
    let mut seed = id | 1;
    let mut byte = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[0]
    };
    (0..RECORD).map(|_| byte()).collect()
}

/// Runs an operation repeatedly in all writers, and returns the operations per second.
async fn operations_per_second<F>(f: impl Fn() -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let writers = (0..WRITERS).map(|_| {
        let f = f.clone();
        tokio::spawn(async move {
            let mut count = 0_u32;
            while began.elapsed() < ROUND {
                f().await;
                count += 1;
            }
            count
        })
    });
    let counts = join_all(writers).await;
    let count: u32 = counts.into_iter().map(|count| count.expect("no panic")).sum();
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Returns submits per second: a record, an index entry and a ticket.
pub(crate) async fn submits(store: &Store) -> f64 {
    let store = store.clone();
    operations_per_second(move || {
        let store = store.clone();
        async move {
            let id = next();
            let record = record(id);
            let write = store.write(move |transaction| {
                transaction.put(key(b'r', id), record);
                transaction.put(key(b'i', id), "");
                transaction.put(key(b'q', id), "ticket");
                Ok::<_, KvError>(())
            });
            write.await.expect("a write");
        }
    })
    .await
}

/// Returns claim and finish cycles per second: a claim without waiting for durability, and then the
/// removal of the ticket with a new record. A queue selects the ticket in memory.
pub(crate) async fn cycles(store: &Store) -> f64 {
    let store = store.clone();
    operations_per_second(move || {
        let store = store.clone();
        async move {
            let id = NEXT_CLAIMED.fetch_add(1, Ordering::Relaxed);
            let claim = store.write_later(move |transaction| {
                transaction.put(key(b'l', id), "lease");
                Ok::<_, KvError>(())
            });
            claim.await.expect("a claim");
            let record = record(id);
            let finish = store.write(move |transaction| {
                transaction.delete(key(b'l', id));
                transaction.delete(key(b'q', id));
                transaction.delete(key(b'i', id));
                transaction.put(key(b'e', id), "");
                transaction.put(key(b'r', id), record);
                Ok::<_, KvError>(())
            });
            finish.await.expect("a write");
        }
    })
    .await
}

/// Returns submits per second of the reference log.
pub(crate) async fn log_submits(log: &ReferenceLog) -> f64 {
    let log = log.clone();
    operations_per_second(move || {
        let log = log.clone();
        async move { log.append(record(next())).await }
    })
    .await
}

/// Returns cycles per second of the reference log. A claim without a flush costs it nothing.
pub(crate) async fn log_cycles(log: &ReferenceLog) -> f64 {
    log_submits(log).await
}
