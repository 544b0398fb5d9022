//! Measurements on a store with many records: open, read, write and compact.

use std::path::Path;
use std::time::{Duration, Instant};

use crucible_kv::{KvError, Range};
use tokio::runtime::Runtime;

use crate::contenders::Contender;
use crate::disk_bytes;
use crate::workload::{key, record, submits};

/// The number of records in one write.
const BATCH_RECORDS: u64 = 1000;

/// Measures a contender and prints the results.
pub(crate) fn measure(runtime: &Runtime, contender: &Contender, directory: &Path, records: u64) {
    let mib = || disk_bytes(directory) >> 20;
    let store = contender.store(directory);
    let empty = runtime.block_on(async { [submits(&store).await, submits(&store).await][1] });
    let (_, filling) = timed(|| runtime.block_on(fill(&store, records)));
    let filled = mib();
    // A copy of the open files equals the files of a killed process.
    let copy = directory.with_extension("copy");
    copy_directory(directory, &copy);
    drop(store);
    let (killed, opening_killed) = timed(|| contender.store(&copy));
    drop(killed);
    std::fs::remove_dir_all(&copy).expect("a directory");
    let (store, opening) = timed(|| contender.store(directory));
    let scans: Vec<f64> = (0..100)
        .map(|n| {
            let from = key(b'i', n * records / 100);
            let (page, took) =
                timed(|| runtime.block_on(store.scan(Range::prefix("i/").after(from), 100)));
            assert_eq!(page.expect("a page").len(), 100);
            took.as_secs_f64()
        })
        .collect();
    let full = runtime
        .block_on(async { [submits(&store).await, submits(&store).await, submits(&store).await] });
    let (_, purging) = timed(|| runtime.block_on(purge(&store, records * 9 / 10)));
    let purged = mib();
    let (compacted, compacting) = timed(|| runtime.block_on(store.compact()));
    compacted.expect("the compaction succeeds");
    let compact = mib();
    drop(store);
    println!(
        "{:<18} filled in {filling:.1?}; opened in {opening:.2?}, after a kill in \
         {opening_killed:.2?}; a page of 100: median {:.0} us\n\
         {:<18} submits: {empty:.0}/s empty, {:.0}/s full ({:.2}); {} bytes a record\n\
         {:<18} {filled} MiB; {purged} MiB after 9 of 10 were removed (in {purging:.1?}); \
         {compact} MiB compacted (in {compacting:.1?}); {} MiB closed",
        contender.name,
        crate::median(&scans) * 1e6,
        "",
        crate::median(&full),
        crate::median(&full) / empty,
        (filled << 20) / records,
        "",
        mib(),
    );
    std::fs::remove_dir_all(directory).expect("a directory");
}

fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let value = action();
    (value, began.elapsed())
}

async fn fill(store: &crucible_kv::Store, records: u64) {
    for first in (0..records).step_by(usize::try_from(BATCH_RECORDS).expect("it is small")) {
        let write = store.write(move |transaction| {
            for id in first..(first + BATCH_RECORDS).min(records) {
                transaction.put(key(b'r', id), record(id));
                transaction.put(key(b'i', id), "");
            }
            Ok::<_, KvError>(())
        });
        write.await.expect("a write");
    }
}

async fn purge(store: &crucible_kv::Store, records: u64) {
    for first in (0..records).step_by(usize::try_from(BATCH_RECORDS).expect("it is small")) {
        let write = store.write(move |transaction| {
            for id in first..(first + BATCH_RECORDS).min(records) {
                transaction.delete(key(b'r', id));
                transaction.delete(key(b'i', id));
            }
            Ok::<_, KvError>(())
        });
        write.await.expect("a write");
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}
