//! Growth of resources over many runs.

use std::time::Duration;

use crucible::platform::Retention;
use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};
use futures::{StreamExt as _, stream};
use tokio::runtime::Runtime;

use crate::host_resources;
use crate::peers::{BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::ARGV;
use crate::throughput::median;

/// The number of parallel runs.
const AT_ONCE: usize = 8;
/// The number of samples of resource usage.
const SAMPLES: usize = 20;
/// Ended evaluations between purges, as in a host that stores results elsewhere.
const KEPT: usize = 1_000;
/// The delay before counting: resources are released shortly after the outcome.
const SETTLE: Duration = Duration::from_millis(300);

/// Resources held at one time.
type Sample = [f64; NAMES.len()];

/// The keys and labels of the sampled resources.
const NAMES: [(&str, &str); 6] = [
    ("rss", "host memory, KiB"),
    ("fds", "host open files"),
    ("threads", "host threads"),
    ("processes", "sandbox processes"),
    ("cgroups", "sandbox cgroups"),
    ("mounts", "mounts in the host's namespace"),
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
        // Zero before and after is no growth.
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
            "{} runs of `busybox echo hi` through the platform, {AT_ONCE} in parallel, with \
             ready sandboxes. Ended evaluations are removed from the storage every {KEPT}. \
             Resources while nothing runs, sampled {SAMPLES} times: the medians of each \
             quarter, and the ratio of the last to the first. Processes and cgroups are those \
             of ready sandboxes and pools. Memory grows at first: the storage's table reaches \
             its final size, and each thread caches freed memory. A counting allocator shows \
             that nothing stays allocated per ended run.",
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
        host_resources::resident() as usize / 1024,
        host_resources::descriptors(),
        host_resources::threads(),
        host_resources::processes_of(host).len(),
        host_resources::count_beneath(&host_resources::groups_of(host)),
        host_resources::mounts(),
    ];
    counts.map(|count| count as f64)
}
