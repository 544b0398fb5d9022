//! The latency of one run of a small static program.

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, SubprocessEngine};
use tokio::runtime::Runtime;

use crate::bare::Bare;
use crate::peers::{self, BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::support::{Case, Order, clear_times, ratio, run_rounds};

/// The measured program.
pub(crate) const ARGV: [&str; 3] = [BUSYBOX, "echo", "hi"];

/// A runtime with one thread, so that the kernel wakes the waiting task directly.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs the program on an engine.
pub(crate) fn run(runtime: &Runtime, engine: &SubprocessEngine, evaluation: &Evaluation) {
    let outcome = runtime.block_on(engine.run(evaluation, &RunContext::new())).expect("a run");
    assert!(outcome.is_success(), "{}: {}", outcome.verdict(), outcome.stderr.to_text());
}

/// Measures the program on the engine, as a bare process and under the peers.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = runtime();
    let cold = SubprocessEngine::new().expect("an engine");
    let ready = SubprocessEngine::builder().ready_sandboxes(4).build().expect("an engine");
    let evaluation = Evaluation::command(ARGV);
    let bare = Bare::new(&ARGV, 0);
    let mut cases = vec![
        Case::new("bare vfork+exec", || assert_eq!(bare.run(), b"hi\n")),
        Case::new("std::process::Command", || assert_eq!(peers::standard(&ARGV), b"hi\n")),
        Case::new("crucible, cold", || run(&runtime, &cold, &evaluation)),
        Case::new("crucible, ready sandbox", || run(&runtime, &ready, &evaluation)),
        Case::new("hakoniwa", || assert_eq!(peers::hakoniwa(&ARGV), b"hi\n")),
    ];
    if peers::has_bwrap() {
        cases.push(Case::new("bwrap --unshare-all", || assert_eq!(peers::bwrap(&ARGV), b"hi\n")));
    }
    if let Some(nsjail) = peers::find_nsjail() {
        cases.push(Case::new("nsjail", move || assert_eq!(peers::nsjail(&nsjail, &ARGV), b"hi\n")));
    }
    let mut order = Order::new();
    run_rounds(&mut cases, 20, &mut order);
    clear_times(&mut cases);
    run_rounds(&mut cases, scale.rounds, &mut order);
    let Some((yardstick, others)) = cases.split_first() else { return };
    let of = |name: &str| others.iter().find(|case| case.name.starts_with(name));
    for (key, name) in [
        ("cold", "crucible, cold"),
        ("ready", "crucible, ready"),
        ("bwrap", "bwrap"),
        ("hakoniwa", "hakoniwa"),
        ("nsjail", "nsjail"),
    ] {
        let Some(case) = of(name) else { continue };
        report.set_case(key, case, yardstick);
        if let Some(cold) = of("crucible, cold") {
            report.set(key, "ratio_to_cold", round(ratio(case.median(), cold.median())));
        }
    }
    let stats = ready.ready_sandbox_stats();
    report.set("ready", "hits", stats.hits);
    report.set("ready", "misses", stats.misses);
    report.add(Table::of_cases(
        "start",
        "One run",
        "`busybox echo hi`, a static program, from the call to its complete output. Crucible has \
         every layer (user, mount, pid, network, IPC, UTS and cgroup namespaces, a read-only root, \
         bounded writable directories, no capability, a system call filter, Landlock, cgroups that \
         limit and count). bubblewrap has no cgroups and no filter here, and neither have hakoniwa \
         and nsjail.",
        &cases,
    ));
}
