//! A test of correct verdicts beside misbehaving neighbours. The benchmark of the same name
//! measures their cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible_core::{Engine as _, Evaluation, Limits, RunContext, Verdict};
use crucible_subprocess::SubprocessEngine;

use super::support::engine;

const RUNS: usize = 200;
const CONCURRENT_RUNS: usize = 4;

const NEIGHBOURS: [&str; 3] = [
    "bomb() { bomb | bomb; }; bomb",
    "while :; do echo an endless line; done",
    "while :; do cat /dev/zero > /tmp/full; done",
];

/// Runs a neighbour repeatedly. A limit ends each of its runs.
async fn disturb(engine: SubprocessEngine, script: &'static str, stop: Arc<AtomicBool>) -> usize {
    let limits = Limits::new().with_wall(Duration::from_secs(2)).with_processes(64);
    let evaluation = Evaluation::shell(script).with_limits(limits);
    let mut ended = 0;
    while !stop.load(Ordering::Relaxed) {
        let outcome = engine.run(&evaluation, &RunContext::new()).await.unwrap();
        // Without the cgroup nothing counts refused processes, and a fork bomb can end by itself.
        let counted = !engine
            .info()
            .enforcement
            .waived()
            .any(|layer| layer == crucible_core::Layer::PidsCgroup);
        let limited = matches!(outcome.verdict(), Verdict::LimitExceeded { .. });
        assert!(limited || !counted, "{script}: {}", outcome.verdict());
        ended += 1;
    }
    ended
}

/// Runs a program with its own output and exit code.
async fn behave(engine: SubprocessEngine, number: usize) {
    let code = i32::try_from(number % 100).unwrap();
    let script =
        format!("i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done; echo {number}; exit {code}");
    let limits = Limits::new().with_wall(Duration::from_secs(60)).with_cpu(Duration::from_secs(30));
    let evaluation = Evaluation::shell(script).with_limits(limits);
    let outcome = engine.run(&evaluation, &RunContext::new()).await.unwrap();
    assert_eq!(*outcome.verdict(), Verdict::Exited { code }, "{:?}", outcome.evidence());
    assert_eq!(outcome.stdout.to_text(), format!("{number}\n"));
}

#[test]
fn misbehaving_neighbours_change_no_verdict() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = engine();
        let stop = Arc::new(AtomicBool::new(false));
        let neighbours = NEIGHBOURS
            .map(|script| tokio::spawn(disturb(engine.clone(), script, Arc::clone(&stop))));
        let mut behaving = tokio::task::JoinSet::new();
        for number in 0..RUNS {
            if behaving.len() == CONCURRENT_RUNS {
                behaving.join_next().await.unwrap().unwrap();
            }
            behaving.spawn(behave(engine.clone(), number));
        }
        while let Some(done) = behaving.join_next().await {
            done.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for neighbour in neighbours {
            assert!(neighbour.await.unwrap() > 0);
        }
    });
}
