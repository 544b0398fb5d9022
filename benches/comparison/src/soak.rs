//! Whether anything grows that should not, over many runs.

use std::time::Duration;

use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, Retention, SubprocessEngine};
use futures::{StreamExt as _, stream};
use tokio::runtime::Runtime;

use crate::held;
use crate::report::{Report, Table, round};
use crate::rivals::{BUSYBOX, has};
use crate::scale::Scale;
use crate::start::ARGV;
use crate::throughput::median;

const AT_ONCE: usize = 8;
const SAMPLES: usize = 20;
/// What has ended is removed whenever so many have: as a host does that keeps what it needs elsewhere.
const KEPT: usize = 1_000;
/// What ended is given back a little later than its outcome is there.
const SETTLE: Duration = Duration::from_millis(300);

/// What is held at one moment.
type Sample = [f64; NAMES.len()];

const NAMES: [(&str, &str); 6] = [
    ("rss", "memory of the host, KiB"),
    ("fds", "its open files"),
    ("threads", "its threads"),
    ("processes", "processes of sandboxes"),
    ("cgroups", "their cgroups"),
    ("mounts", "mounts that the host sees"),
];

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::builder().ready_sandboxes(AT_ONCE).build().expect("an engine");
    let samples = runtime.block_on(samples(engine, scale.soak));
    report.set("soak", "runs", scale.soak);
    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    for (index, (key, name)) in NAMES.into_iter().enumerate() {
        let all: Vec<f64> = samples.iter().map(|sample| sample[index]).collect();
        let quarters: Vec<f64> =
            all.chunks(SAMPLES / 4).map(|quarter| median(quarter.to_vec())).collect();
        let (first, last) = (quarters[0], quarters[3]);
        // What there is none of has not grown, if there is none of it still.
        let growth = if first == last { 1.0 } else { last / first.max(1.0) };
        report.set("soak", &format!("{key}_quarters"), quarters.clone());
        report.set("soak", &format!("{key}_growth"), round(growth));
        let cells = quarters.iter().map(f64::to_string).chain([format!("{growth:.3}")]);
        rows.push((name.to_owned(), cells.collect()));
        bars.push((name.to_owned(), growth));
    }
    report.add(Table {
        name: "soak",
        title: "Many runs".to_owned(),
        note: format!(
            "{} runs of `busybox echo hi` through the platform, {AT_ONCE} at once, with sandboxes that stand already; what has ended is \
             removed from the storage every {KEPT}. What is held while nothing runs, seen {SAMPLES} times: the medians of each quarter, and \
             the last beside the first. The processes are those of the sandboxes that stand already, the cgroups theirs and those that are \
             kept ready. Memory grows at first: the table of the storage grows to the size at which it stays, and each thread keeps a little of \
             what it has freed. Nothing stays allocated for a run that is over: an allocator that counts has as many pieces out after \
             10,000 runs as after 200,000.",
            scale.soak
        ),
        columns: vec!["first quarter", "second", "third", "last", "ratio"],
        rows,
        bars,
        curve: None,
        unit: "last quarter to first",
    });
}

async fn samples(engine: SubprocessEngine, runs: usize) -> Vec<Sample> {
    let builder = Crucible::builder().engine("only", engine).workers(AT_ONCE);
    let queue = MemoryQueue::bounded(100);
    let platform = builder.queue(queue).storage(MemoryStorage::new()).build().expect("a platform");
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let mut left = runs / SAMPLES;
        while left > 0 {
            let some = left.min(KEPT);
            evaluate(&platform, some).await;
            platform.purge(&Retention::older_than(Duration::ZERO)).await.expect("it is removed");
            left -= some;
        }
        tokio::time::sleep(SETTLE).await;
        samples.push(sample());
    }
    samples
}

async fn evaluate(platform: &Crucible, count: usize) {
    let runs = (0..count).map(|_| {
        let platform = platform.clone();
        async move {
            let run =
                tokio::spawn(async move { platform.evaluate(Evaluation::command(ARGV)).await });
            let outcome = run.await.expect("no panic").expect("an outcome");
            assert!(outcome.is_success(), "{}", outcome.verdict());
        }
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).for_each(async |()| ()).await;
}

fn sample() -> Sample {
    let host = std::process::id();
    let counts = [
        held::resident() as usize / 1024,
        held::descriptors(),
        held::threads(),
        held::processes_of(host).len(),
        held::count_beneath(&held::groups_of(host)),
        held::mounts(),
    ];
    counts.map(|count| count as f64)
}
