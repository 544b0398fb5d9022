//! The cost of one more evaluation by the number of queued ones.

use std::time::Instant;

use crucible::storage::{DataDirectory, DataDirectoryOptions};
use crucible::{MemoryQueue, MemoryStorage};
use futures::{StreamExt as _, stream};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::blocked::Blocked;
use super::grouped;
use crate::curve::Curve;
use crate::host_resources;
use crate::report::{Report, Table, round};
use crate::scale::Scale;

/// The numbers of queued evaluations.
const DEPTHS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Queued evaluations over all platforms. With few per platform, several platforms are needed:
/// otherwise the allocator's granularity would hide them.
const IN_MEMORY: usize = 10_000;
/// The same for data directories, which take longer to create.
const IN_DIRECTORIES: usize = 200;
/// Parallel submitters to a data directory, which share writes.
const SUBMITTERS: usize = 16;

/// Platforms that live until the end of the measurement: memory freed by one would be reused by the
/// next and not be counted.
#[derive(Default)]
struct Kept {
    platforms: Vec<Blocked>,
    directories: Vec<TempDir>,
}

struct Figures {
    submit_us: f64,
    run_us: f64,
    bytes: f64,
}

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = Runtime::new().expect("a runtime");
    let (mut rows, mut curve) = (Vec::new(), Curve::new(["submit", "run", "submit durably"]));
    let mut kept = Kept::default();
    // Warm-up.
    let _first = runtime.block_on(in_memory(&mut kept, 100));
    for depth in DEPTHS.into_iter().filter(|depth| *depth <= scale.queued) {
        let memory = runtime.block_on(in_memory(&mut kept, depth));
        let key = format!("growth_queued_{depth}");
        report.set(&key, "submit_us", round(memory.submit_us));
        report.set(&key, "run_us", round(memory.run_us));
        report.set(&key, "bytes", memory.bytes.round());
        let times = [memory.submit_us, memory.run_us].map(|us| format!("{us:.1} µs"));
        let mut row: Vec<String> =
            times.into_iter().chain([grouped(memory.bytes as u64)]).collect();
        let mut durably = 0.0;
        if depth <= scale.queued_durably {
            let (submit_us, bytes) = runtime.block_on(in_directories(&mut kept, depth));
            report.set(&key, "durable_submit_us", round(submit_us));
            report.set(&key, "durable_bytes", bytes.round());
            row.extend([format!("{submit_us:.1} µs"), grouped(bytes as u64)]);
            durably = submit_us;
        } else {
            row.extend(["-", "-"].map(str::to_owned));
        }
        curve.push(depth as f64, [memory.submit_us, memory.run_us, durably]);
        rows.push((grouped(depth as u64), row));
    }
    report.add(Table {
        name: "growth-queued",
        title: "Growth: queued evaluations".to_owned(),
        note: format!(
            "The time to submit one evaluation (event, record, ticket), and to claim and \
             finish one over an engine without work, with the given number of queued \
             evaluations; and the bytes of host memory per evaluation. Cost is constant: no \
             operation walks the queue. Bytes vary because maps double their capacity. In a \
             data directory {SUBMITTERS} submitters share each write and flush; with ten \
             queued evaluations fewer share one. It keeps tickets in memory and 64 MiB of \
             pages, so the bytes per evaluation fall at the end."
        ),
        columns: vec!["submit", "run", "bytes", "submit durably", "bytes"],
        rows,
        bars: Vec::new(),
        curve: Some(curve),
        unit: "µs an evaluation",
    });
}

async fn in_memory(kept: &mut Kept, depth: usize) -> Figures {
    let count = IN_MEMORY.div_ceil(depth);
    let mut blocked = Vec::new();
    for _ in 0..count {
        blocked.push(Blocked::new(MemoryQueue::bounded(u64::MAX), MemoryStorage::new()).await);
    }
    let all = (count * depth) as f64;
    let (before, began) = (host_resources::resident(), Instant::now());
    let mut last = Vec::new();
    for blocked in &blocked {
        for _ in 1..depth {
            blocked.submit().await;
        }
        last.push(blocked.submit().await);
    }
    let submit_us = began.elapsed().as_secs_f64() * 1e6 / all;
    let bytes = host_resources::resident().saturating_sub(before) as f64 / all;
    let began = Instant::now();
    for (blocked, last) in blocked.iter().zip(&last) {
        blocked.drain(last).await;
    }
    let run_us = began.elapsed().as_secs_f64() * 1e6 / all;
    kept.platforms.extend(blocked);
    Figures { submit_us, run_us, bytes }
}

/// Returns microseconds per submission and bytes of memory per queued evaluation.
async fn in_directories(kept: &mut Kept, depth: usize) -> (f64, f64) {
    let count = IN_DIRECTORIES.div_ceil(depth);
    let mut blocked = Vec::new();
    for _ in 0..count {
        let place = tempfile::tempdir().expect("a directory");
        let options = DataDirectoryOptions::new().with_capacity(u64::MAX);
        let data = DataDirectory::open_with(place.path(), options).await.expect("a data directory");
        blocked.push(Blocked::new(data.queue(), data.storage()).await);
        kept.directories.push(place);
    }
    let all = (count * depth) as f64;
    let (before, began) = (host_resources::resident(), Instant::now());
    for blocked in &blocked {
        let submissions = (0..depth).map(|_| blocked.submit());
        stream::iter(submissions).buffer_unordered(SUBMITTERS).for_each(async |_| ()).await;
    }
    let submit_us = began.elapsed().as_secs_f64() * 1e6 / all;
    let bytes = host_resources::resident().saturating_sub(before) as f64 / all;
    kept.platforms.extend(blocked);
    (submit_us, bytes)
}
