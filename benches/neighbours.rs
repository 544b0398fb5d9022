//! What neighbours cost that misbehave: the same evaluations alone, and beside a fork bomb, a flood of output and a full
//! disk, which start again as soon as they are ended. Run it on a quiet machine:
//! `cargo bench --bench neighbours [-- --rounds N]`.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]

#[expect(dead_code, reason = "each benchmark uses a part of what they share")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible::{Engine, Evaluation, Limits, RunContext, SubprocessEngine, Verdict};
use futures::StreamExt as _;
use support::{ratio, rounds_or};

/// How many well-behaved evaluations run at once: one for each CPU of a small machine.
const AT_ONCE: usize = 2;

const NEIGHBOURS: [&str; 3] = [
    "bomb() { bomb | bomb; }; bomb",
    "while :; do echo a line of no use to anybody; done",
    "while :; do cat /dev/zero > /tmp/full; done",
];

#[tokio::main]
async fn main() -> Result<(), String> {
    let rounds = rounds_or(200)?;
    let engine = SubprocessEngine::new().expect("an engine");
    // The first runs warm everything up.
    measure(&engine, 20).await;
    let alone = measure(&engine, rounds).await;
    let stop = Arc::new(AtomicBool::new(false));
    let neighbours =
        NEIGHBOURS.map(|script| tokio::spawn(disturb(engine.clone(), script, Arc::clone(&stop))));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let beside = measure(&engine, rounds).await;
    stop.store(true, Ordering::Relaxed);
    let mut ended = 0;
    for neighbour in neighbours {
        ended += neighbour.await.expect("no panic");
    }
    println!("{rounds} evaluations, {AT_ONCE} at once, all right; {ended} neighbours were ended meanwhile");
    println!("alone:             median {:>6} us", alone.as_micros());
    println!("beside neighbours: median {:>6} us", beside.as_micros());
    println!("ratio: {:.2} (at most 3)", ratio(beside, alone));
    Ok(())
}

/// The median wall time of well-behaved evaluations, each of which must be right.
async fn measure(engine: &SubprocessEngine, rounds: usize) -> Duration {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo $i";
    let evaluation = Evaluation::shell(script);
    let runs = (0..rounds).map(|_| {
        let (engine, evaluation) = (engine.clone(), evaluation.clone());
        async move {
            let run = tokio::spawn(async move { engine.run(&evaluation, &RunContext::new()).await });
            let outcome = run.await.expect("no panic").expect("a run");
            assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 });
            assert_eq!(outcome.stdout.to_text(), "20000\n");
            outcome.usage.wall
        }
    });
    let mut times: Vec<Duration> = futures::stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Runs a neighbour again and again. It is always ended at a limit.
async fn disturb(engine: SubprocessEngine, script: &'static str, stop: Arc<AtomicBool>) -> usize {
    let limits = Limits::new().with_wall(Duration::from_secs(2)).with_processes(64);
    let evaluation = Evaluation::shell(script).with_limits(limits);
    let mut ended = 0;
    while !stop.load(Ordering::Relaxed) {
        let outcome = engine.run(&evaluation, &RunContext::new()).await.expect("a run");
        assert!(matches!(outcome.verdict(), Verdict::LimitExceeded { .. }), "{}", outcome.verdict());
        ended += 1;
    }
    ended
}
