//! The cost of misbehaving neighbours: the same evaluations alone, and beside a fork bomb, a flood
//! of output and a full disk, each restarted as soon as it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, Limits, SubprocessEngine, Verdict};
use futures::StreamExt as _;
use tokio::runtime::Runtime;

use crate::report::{Report, Table, micros, round};
use crate::scale::Scale;
use crate::support::{quantile, ratio};

/// Parallel ordinary evaluations: one per CPU of a small machine.
const AT_ONCE: usize = 2;

/// The scripts of the misbehaving neighbours.
const NEIGHBOURS: [&str; 3] = [
    "bomb() { bomb | bomb; }; bomb",
    "while :; do echo a line of useless output; done",
    "while :; do cat /dev/zero > /tmp/full; done",
];

/// Measures ordinary evaluations alone and beside misbehaving neighbours.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let engine = SubprocessEngine::new().expect("an engine");
    let (alone, beside, ended) =
        Runtime::new().expect("a runtime").block_on(compare(&engine, scale.neighbour_rounds));
    report.set("neighbours", "ratio", round(ratio(beside, alone)));
    report.set("neighbours", "alone_us", micros(alone));
    report.set("neighbours", "beside_us", micros(beside));
    report.set("neighbours", "ended", ended);
    let rows = [("crucible, alone", alone), ("crucible, beside neighbours", beside)];
    report.add(Table {
        name: "neighbours",
        title: "Neighbours".to_owned(),
        note: format!(
            "{} evaluations, {AT_ONCE} in parallel, alone and beside a fork bomb, a flood of \
             output and a full disk, each restarted as soon as it ends. The engine ended {ended} of \
             these neighbours at a limit. All verdicts are correct.",
            scale.neighbour_rounds
        ),
        columns: vec!["median", "ratio"],
        rows: rows
            .iter()
            .map(|(name, time)| {
                let cells = vec![format!("{} µs", micros(*time)), format!("{:.2}", ratio(*time, alone))];
                ((*name).to_owned(), cells)
            })
            .collect(),
        bars: rows.iter().map(|(name, time)| ((*name).to_owned(), time.as_secs_f64() * 1000.0)).collect(),
        curve: None,
        unit: "ms, median",
    });
}

/// Returns the median alone, the median beside neighbours, and the number of neighbours that
/// the engine ended during the measurement.
async fn compare(engine: &SubprocessEngine, rounds: usize) -> (Duration, Duration, usize) {
    // Warm-up.
    well_behaved(engine, 20).await;
    let alone = well_behaved(engine, rounds).await;
    let stop = Arc::new(AtomicBool::new(false));
    let neighbours =
        NEIGHBOURS.map(|script| tokio::spawn(disturb(engine.clone(), script, Arc::clone(&stop))));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let beside = well_behaved(engine, rounds).await;
    stop.store(true, Ordering::Relaxed);
    let mut ended = 0;
    for neighbour in neighbours {
        ended += neighbour.await.expect("no panic");
    }
    (alone, beside, ended)
}

/// Returns the median wall time of ordinary evaluations, each of which must succeed.
async fn well_behaved(engine: &SubprocessEngine, rounds: usize) -> Duration {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo $i";
    let evaluation = Evaluation::shell(script);
    let runs = (0..rounds).map(|_| {
        let (engine, evaluation) = (engine.clone(), evaluation.clone());
        async move {
            let run =
                tokio::spawn(async move { engine.run(&evaluation, &RunContext::new()).await });
            let outcome = run.await.expect("no panic").expect("a run");
            assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 });
            assert_eq!(outcome.stdout.to_text(), "20000\n");
            outcome.usage.wall
        }
    });
    let times: Vec<Duration> =
        futures::stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    quantile(&times, 0.5)
}

/// Runs a neighbour repeatedly. Each run must end at a limit.
async fn disturb(engine: SubprocessEngine, script: &'static str, stop: Arc<AtomicBool>) -> usize {
    let limits = Limits::new().with_wall(Duration::from_secs(2)).with_processes(64);
    let evaluation = Evaluation::shell(script).with_limits(limits);
    let mut ended = 0;
    while !stop.load(Ordering::Relaxed) {
        let outcome = engine.run(&evaluation, &RunContext::new()).await.expect("a run");
        assert!(
            matches!(outcome.verdict(), Verdict::LimitExceeded { .. }),
            "{}",
            outcome.verdict()
        );
        ended += 1;
    }
    ended
}
