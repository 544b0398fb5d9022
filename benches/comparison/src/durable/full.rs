//! A full data directory: the time to open it, to list and to submit, beside an empty one; disk
//! space per record; and space that a purge frees.
//!
//! `ci/bench durable-full [--records N]`. The default of one million records takes minutes and
//! about 5 GB of disk. The durability is `Power`.

#![expect(clippy::expect_used, reason = "a benchmark that fails has nothing to report")]

#[path = "crucible.rs"]
mod crucible_store;
#[path = "subject.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of the shared code")]
mod subject;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crucible::journal::RecordState;
use crucible::platform::{Retention, purge_storage};
use crucible::storage::{DataDirectory, DataDirectoryOptions, RecordQuery, Storage as _};

use crucible_store::Stores;
pub(crate) use subject::{Step, Subject, payload};
use subject::{WRITERS, median, rate};

/// Parallel submitters while filling, more than one flush takes.
const FILLERS: usize = 512;
const PAGE: usize = 100;
/// Repetitions of listing, and of submitting on each side.
const TIMES: usize = 21;

fn main() -> Result<(), String> {
    let records = records()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let scratch = tempfile::tempdir_in(subject::target_directory()).expect("a directory");
    let (full, empty) = (scratch.path().join("full"), scratch.path().join("empty"));
    runtime.block_on(async {
        let began = Instant::now();
        let stores = Arc::new(Stores::open(&full).await);
        fill(&stores, records).await;
        finish(&stores, records / 2).await;
        println!(
            "{records} records, half ended, in {:.0} s: {:.2} KiB each on disk",
            began.elapsed().as_secs_f64(),
            kib(&full) / records as f64
        );
        drop(stores);

        let opened = Instant::now();
        let directory =
            DataDirectory::open_with(&full, DataDirectoryOptions::new().with_capacity(u64::MAX))
                .await
                .expect("it is opened");
        println!(
            "open: {:.2} s, with the queue's {} tickets",
            opened.elapsed().as_secs_f64(),
            records - records / 2
        );
        for state in [RecordState::Cancelled, RecordState::Queued] {
            println!(
                "one page of {PAGE} in state `{state}`: {:.2} ms",
                1e3 * pages(&directory, state).await
            );
        }
        drop(directory);

        compare(&full, &empty).await;

        let directory =
            DataDirectory::open_with(&full, DataDirectoryOptions::new().with_capacity(u64::MAX))
                .await
                .expect("it is opened");
        let before = kib(&full);
        let began = Instant::now();
        let purged = purge_storage(&directory.storage(), &Retention::older_than(Duration::ZERO))
            .await
            .expect("it is purged");
        let purging = began.elapsed();
        let began = Instant::now();
        directory.compact().await.expect("it is compacted");
        println!(
            "purge of {}: {:.0} s; compaction: {:.0} s; {:.0} MiB before, {:.0} MiB after",
            purged.removed,
            purging.as_secs_f64(),
            began.elapsed().as_secs_f64(),
            before / 1024.0,
            kib(&full) / 1024.0
        );
    });
    Ok(())
}

fn records() -> Result<u64, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--records").skip(1);
    let Some(number) = arguments.next() else { return Ok(1_000_000) };
    number.replace('_', "").parse().map_err(|_| format!("`{number}` is no number"))
}

async fn fill(stores: &Arc<Stores>, records: u64) {
    let left = Arc::new(AtomicU64::new(records));
    work(stores, &left, FILLERS, |stores, writer| stores.submit(writer)).await;
}

async fn finish(stores: &Arc<Stores>, records: u64) {
    let left = Arc::new(AtomicU64::new(records));
    work(stores, &left, FILLERS, |stores, writer| stores.cycle(writer)).await;
}

async fn work(
    stores: &Arc<Stores>,
    left: &Arc<AtomicU64>,
    writers: usize,
    step: fn(&Stores, usize) -> Step,
) {
    let writers = (0..writers).map(|writer| {
        let (stores, left) = (Arc::clone(stores), Arc::clone(left));
        tokio::spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                assert!(step(&stores, writer).await, "an evaluation is waiting");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
}

/// Returns the median time in seconds to list one page.
async fn pages(directory: &DataDirectory, state: RecordState) -> f64 {
    let storage = directory.storage();
    let mut times = Vec::new();
    let mut after = None;
    for _ in 0..TIMES {
        let query = RecordQuery::new().with_state(state).with_limit(PAGE);
        let query = after.map_or_else(|| query.clone(), |after| query.clone().with_after(after));
        let began = Instant::now();
        let page = storage.records(&query).await.expect("it is listed");
        times.push(began.elapsed().as_secs_f64());
        assert_eq!(page.records.len(), PAGE, "the page is incomplete");
        after = page.next;
    }
    median(&mut times)
}

/// Compares submitting to both directories, by turns.
async fn compare(full: &Path, empty: &Path) {
    let full: Arc<dyn Subject> = Arc::new(Stores::open(full).await);
    let empty: Arc<dyn Subject> = Arc::new(Stores::open(empty).await);
    let (mut to_full, mut to_empty) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        to_full.push(rate(&full, |subject, writer| subject.submit(writer)).await);
        to_empty.push(rate(&empty, |subject, writer| subject.submit(writer)).await);
    }
    let (full, empty) = (median(&mut to_full), median(&mut to_empty));
    println!(
        "submit by {WRITERS}: {full:.0} per second to the full one, {empty:.0} to the empty one, ratio {:.2}",
        full / empty
    );
}

/// Returns the disk space of a directory in KiB.
fn kib(directory: &Path) -> f64 {
    let output =
        std::process::Command::new("du").arg("-sk").arg(directory).output().expect("du(1)");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
