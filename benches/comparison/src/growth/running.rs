//! The cost of parallel sandboxes: runs per second, and memory per sandbox.

use std::time::{Duration, Instant};

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, Limits, SubprocessEngine};
use tokio::runtime::Runtime;

use super::grouped;
use crate::bare::Bare;
use crate::curve::Curve;
use crate::host_resources;
use crate::peers::{BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::ARGV;
use crate::throughput::{by_tasks, by_threads, median};

/// The numbers of parallel sandboxes.
const AT_ONCE: [usize; 6] = [1, 8, 32, 64, 256, 512];
/// File descriptors of the host reserved per sandbox.
const FILES: u64 = 20;
/// The longest wait until all sandboxes are open.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes per sandbox.
#[derive(Debug, Default)]
struct Memory {
    host: f64,
    processes: f64,
    charged: f64,
}

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::new().expect("an engine");
    let bare = Bare::new(&ARGV, 0);
    let files = host_resources::raise_descriptors(512 * FILES + 1000);
    let (mut rows, mut curve) = (Vec::new(), Curve::new(["crucible", "bare"]));
    for at_once in AT_ONCE.into_iter().filter(|at_once| *at_once <= scale.at_once) {
        if at_once as u64 * FILES > files {
            eprintln!("{at_once} in parallel: SKIPPED, this host may open only {files} files");
            continue;
        }
        let (mut ours, mut bares) = (Vec::new(), Vec::new());
        for _ in 0..scale.passes.min(3) {
            ours.push(by_tasks(&runtime, &engine, at_once, scale.span / 2));
            bares.push(by_threads(at_once, scale.span / 2, || drop(bare.run())));
        }
        let (ours, bares) = (median(ours), median(bares));
        let memory = asleep(&runtime, &engine, at_once);
        let key = format!("growth_running_{at_once}");
        report.set(&key, "per_second", ours.round());
        report.set(&key, "ratio", round(ours / bares));
        report.set(&key, "host_bytes", memory.host.round());
        report.set(&key, "process_bytes", memory.processes.round());
        report.set(&key, "charged_bytes", memory.charged.round());
        let kib = [memory.host, memory.processes, memory.charged];
        let kib = kib.map(|bytes| format!("{:.0} KiB", bytes / 1024.0));
        let cells = [format!("{ours:.0}"), format!("{bares:.0}"), format!("{:.2}", ours / bares)];
        rows.push((grouped(at_once as u64), cells.into_iter().chain(kib).collect()));
        curve.push(at_once as f64, [ours, bares]);
    }
    report.add(Table {
        name: "growth-running",
        title: "Growth: parallel sandboxes".to_owned(),
        note: "`busybox echo hi` with the given parallelism, beside bare processes; and the \
             resources of each sandbox while its program sleeps: memory of the host, \
             proportional memory of its two processes, and memory charged to its cgroup, \
             kernel memory included. Up to 8, throughput rises because every processor has \
             work. Beyond that it falls: the engine pools cgroups and network namespaces for \
             128 sandboxes, including those in teardown; further sandboxes create new ones. \
             Scheduling more tasks on the same processors also slows bare processes down."
            .to_owned(),
        columns: vec!["runs per second", "bare", "ratio", "host", "processes", "charged"],
        rows,
        bars: Vec::new(),
        curve: Some(curve),
        unit: "runs per second",
    });
}

/// Returns the resources per sandbox while its program sleeps.
fn asleep(runtime: &Runtime, engine: &SubprocessEngine, count: usize) -> Memory {
    let host = std::process::id();
    let groups = host_resources::groups_of(host);
    let context = RunContext::new();
    let limits = Limits::new().with_wall(Duration::from_secs(600));
    let evaluation = Evaluation::command([BUSYBOX, "sleep", "600"]).with_limits(limits);
    let (resident, charged) = (host_resources::resident(), host_resources::charged(&groups));
    let runs: Vec<_> = (0..count)
        .map(|_| {
            let (engine, evaluation, context) =
                (engine.clone(), evaluation.clone(), context.clone());
            runtime.spawn(async move { engine.run(&evaluation, &context).await })
        })
        .collect();
    let began = Instant::now();
    let processes = loop {
        let processes = host_resources::processes_of(host);
        if processes.iter().filter(|process| sleeps(**process)).count() == count {
            break processes;
        }
        assert!(began.elapsed() < PATIENCE, "not all of {count} sandboxes opened");
        std::thread::sleep(Duration::from_millis(20));
    };
    let of_each = |now: u64, before: u64| now.saturating_sub(before) as f64 / count as f64;
    let memory = Memory {
        host: of_each(host_resources::resident(), resident),
        processes: of_each(host_resources::proportional(&processes), 0),
        charged: of_each(host_resources::charged(&groups), charged),
    };
    context.cancel.cancel();
    for run in runs {
        runtime.block_on(run).expect("no panic").expect("a run");
    }
    memory
}

/// Returns `true` if the process has executed the program already.
fn sleeps(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "busybox\n")
}
