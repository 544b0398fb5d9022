//! What is measured: what a queue and a storage do to a store, simplified.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crucible_kv::{KvError, Store};
use futures::future::join_all;

use crate::reference_log::ReferenceLog;
use crate::{ROUND, WRITERS};

const RECORD: usize = 1024;

/// Ids rise, as those of evaluations do.
static NEXT: AtomicU64 = AtomicU64::new(1 << 32);

/// Tickets are claimed in the order in which they came.
static NEXT_CLAIMED: AtomicU64 = AtomicU64::new(1 << 32);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn key(kind: u8, id: u64) -> Vec<u8> {
    [&[kind][..], b"/00000000", &id.to_be_bytes()].concat()
}

/// Not the same byte throughout, since some stores compress.
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

/// Writers that each do one thing after another, and how many of them were done a second.
async fn a_second<F>(f: impl Fn() -> F + Clone + Send + 'static) -> f64
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

/// A record, an index entry, a ticket.
pub(crate) async fn submits(store: &Store) -> f64 {
    let store = store.clone();
    a_second(move || {
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

/// A ticket is claimed, which need not be durable; then it is removed, and its record written again. Which ticket is the first a
/// queue knows in memory.
pub(crate) async fn cycles(store: &Store) -> f64 {
    let store = store.clone();
    a_second(move || {
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

pub(crate) async fn log_submits(log: &ReferenceLog) -> f64 {
    let log = log.clone();
    a_second(move || {
        let log = log.clone();
        async move { log.append(record(next())).await }
    })
    .await
}

/// A claim that is not flushed costs a log nothing.
pub(crate) async fn log_cycles(log: &ReferenceLog) -> f64 {
    log_submits(log).await
}
