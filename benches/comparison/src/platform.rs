//! The platform's overhead per run, and its effect on throughput, with memory backends.

use std::time::{Duration, Instant};

use crucible::engine::RunContext;
use crucible::{
    Crucible, Engine, Evaluation, MemoryQueue, MemoryStorage, Outcome, SubprocessEngine,
};
use crucible_core::testing::FakeEngine;
use tokio::runtime::Runtime;

use crate::report::{Report, Table, micros, round};
use crate::scale::Scale;
use crate::support::{Case, Order, clear_times, run_rounds};
use crate::throughput::median;

/// Parallel submitters, and workers.
const AT_ONCE: usize = 32;

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::new().expect("an engine");
    one_at_a_time(report, scale, &runtime, &engine);
    many_at_once(report, scale, &runtime, &engine);
}

fn one_at_a_time(report: &mut Report, scale: &Scale, runtime: &Runtime, engine: &SubprocessEngine) {
    let (nothing, sandboxed) =
        (platform(runtime, FakeEngine::new(), 2), platform(runtime, engine.clone(), 2));
    let (fake, evaluation) = (FakeEngine::new(), Evaluation::command(["/bin/true"]));
    let mut cases = [
        Case::new("an engine without work, alone", || alone(runtime, &fake, &evaluation)),
        Case::new("platform over it: submit to outcome", || {
            through(runtime, &nothing, &evaluation)
        }),
        Case::new("a sandboxed run, alone", || alone(runtime, engine, &evaluation)),
        Case::new("platform over the sandboxed run: submit to outcome", || {
            through(runtime, &sandboxed, &evaluation)
        }),
    ];
    let mut order = Order::new();
    run_rounds(&mut cases, 20, &mut order);
    clear_times(&mut cases);
    run_rounds(&mut cases, scale.rounds, &mut order);
    let added =
        |over: &Case<'_>, alone: &Case<'_>| micros(over.median().saturating_sub(alone.median()));
    report.set("platform", "added_us", added(&cases[1], &cases[0]));
    report.set("platform", "added_to_sandboxed_us", added(&cases[3], &cases[2]));
    report.add(Table::of_cases(
        "platform",
        "The platform",
        "Queue, storage, journal and workers, in memory, beside the engine's `run` alone.",
        &cases,
    ));
}

fn many_at_once(report: &mut Report, scale: &Scale, runtime: &Runtime, engine: &SubprocessEngine) {
    const NAMES: [&str; 4] = [
        "a sandboxed run, alone",
        "platform over it: submit to outcome",
        "an engine without work, alone",
        "platform over the sandboxed run: submit to outcome",
    ];
    let mut figures: [Vec<f64>; 4] = Default::default();
    let mut order = Order::new();
    for _ in 0..scale.passes {
        for index in order.shuffled(NAMES.len()) {
            let (engine, fake) = (engine.clone(), FakeEngine::new());
            // A memory storage grows with each evaluation, so each measurement gets a new platform.
            let short = scale.span / 3;
            figures[index].push(match index {
                0 => steps_per_second(runtime, scale.span, move || run(engine.clone())),
                1 => {
                    let platform = platform(runtime, engine, AT_ONCE);
                    steps_per_second(runtime, scale.span, move || evaluate(platform.clone()))
                }
                2 => steps_per_second(runtime, short, move || run(fake.clone())),
                _ => {
                    let platform = platform(runtime, fake, AT_ONCE);
                    steps_per_second(runtime, short, move || evaluate(platform.clone()))
                }
            });
        }
    }
    let figures = figures.map(median);
    report.set("platform", "throughput_32_ratio", round(figures[1] / figures[0]));
    report.set("platform", "per_second_32", figures[3].round());
    let row = |index: usize| {
        let alone = figures[index / 2 * 2];
        let cells =
            vec![format!("{:.0}", figures[index]), format!("{:.2}", figures[index] / alone)];
        (NAMES[index].to_owned(), cells)
    };
    report.add(Table {
        name: "platform-throughput",
        title: format!("The platform, {AT_ONCE} in parallel"),
        note: format!(
            "Evaluations per second with {AT_ONCE} submitters and {AT_ONCE} workers, beside \
             {AT_ONCE} parallel calls of the engine's `run`."
        ),
        columns: vec!["per second", "ratio"],
        rows: (0..NAMES.len()).map(row).collect(),
        bars: NAMES
            .iter()
            .zip(figures)
            .map(|(name, figure)| ((*name).to_owned(), figure))
            .collect(),
        curve: None,
        unit: "evaluations per second",
    });
}

fn platform(runtime: &Runtime, engine: impl Engine, workers: usize) -> Crucible {
    let _inside = runtime.enter();
    let builder = Crucible::builder().engine("only", engine).workers(workers);
    builder
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .build()
        .expect("a platform")
}

fn alone(runtime: &Runtime, engine: &(impl Engine + Clone), evaluation: &Evaluation) {
    // On a worker thread of the runtime, as in the platform.
    let (engine, evaluation) = (engine.clone(), evaluation.clone());
    let run = runtime.spawn(async move { engine.run(&evaluation, &RunContext::new()).await });
    let outcome = runtime.block_on(run).expect("no panic").expect("a run");
    assert!(outcome.is_success(), "{}", outcome.verdict());
}

fn through(runtime: &Runtime, platform: &Crucible, evaluation: &Evaluation) {
    let outcome = runtime.block_on(platform.evaluate(evaluation.clone())).expect("an outcome");
    assert!(outcome.is_success(), "{}", outcome.verdict());
}

async fn run(engine: impl Engine) -> Outcome {
    engine.run(&Evaluation::command(["/bin/true"]), &RunContext::new()).await.expect("a run")
}

async fn evaluate(platform: Crucible) -> Outcome {
    platform.evaluate(Evaluation::command(["/bin/true"])).await.expect("an outcome")
}

/// Returns the number of steps per second with [`AT_ONCE`] parallel tasks.
fn steps_per_second<D>(
    runtime: &Runtime,
    span: Duration,
    what: impl Fn() -> D + Clone + Send + 'static,
) -> f64
where
    D: Future<Output = Outcome> + Send,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let what = what.clone();
            runtime.spawn(async move {
                let mut times = 0_u32;
                while began.elapsed() < span {
                    let outcome = what().await;
                    assert!(outcome.is_success(), "{}", outcome.verdict());
                    times += 1;
                }
                times
            })
        })
        .collect();
    let times: u32 = tasks.into_iter().map(|task| runtime.block_on(task).expect("no panic")).sum();
    f64::from(times) / began.elapsed().as_secs_f64()
}
