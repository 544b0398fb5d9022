//! What the platform adds to a run, with queue and storage in memory.

use crucible::{Crucible, Engine, Evaluation, MemoryQueue, MemoryStorage, RunContext, SubprocessEngine};
use crucible_core::testing::FakeEngine;
use tokio::runtime::Runtime;

use crate::report::{Report, Table, micros};
use crate::scale::Scale;
use crate::support::{Case, Order, forget, run_rounds};

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::new().expect("an engine");
    let (nothing, sandboxed) = (platform(&runtime, FakeEngine::new()), platform(&runtime, engine.clone()));
    let (fake, evaluation) = (FakeEngine::new(), Evaluation::command(["/bin/true"]));
    let mut cases = [
        Case::new("an engine that does nothing, alone", || alone(&runtime, &fake, &evaluation)),
        Case::new("crucible over it: submit to outcome", || through(&runtime, &nothing, &evaluation)),
        Case::new("a sandboxed run, alone", || alone(&runtime, &engine, &evaluation)),
        Case::new("crucible over that: submit to outcome", || through(&runtime, &sandboxed, &evaluation)),
    ];
    let mut order = Order::new();
    run_rounds(&mut cases, 20, &mut order);
    forget(&mut cases);
    run_rounds(&mut cases, scale.rounds, &mut order);
    let added = |over: &Case<'_>, alone: &Case<'_>| micros(over.median().saturating_sub(alone.median()));
    report.set("platform", "added_us", added(&cases[1], &cases[0]));
    report.set("platform", "added_to_sandboxed_us", added(&cases[3], &cases[2]));
    report.add(Table::of_cases(
        "platform",
        "The platform",
        "Queue, storage, journal and workers, in memory, beside the engine's `run` alone.",
        &cases,
    ));
}

fn platform(runtime: &Runtime, engine: impl Engine) -> Crucible {
    let _inside = runtime.enter();
    let builder = Crucible::builder().engine("only", engine);
    builder.queue(MemoryQueue::bounded(100)).storage(MemoryStorage::new()).build().expect("a platform")
}

fn alone(runtime: &Runtime, engine: &(impl Engine + Clone), evaluation: &Evaluation) {
    // On a worker of the runtime, as the platform does it.
    let (engine, evaluation) = (engine.clone(), evaluation.clone());
    let run = runtime.spawn(async move { engine.run(&evaluation, &RunContext::new()).await });
    let outcome = runtime.block_on(run).expect("no panic").expect("a run");
    assert!(outcome.is_success(), "{}", outcome.verdict());
}

fn through(runtime: &Runtime, platform: &Crucible, evaluation: &Evaluation) {
    let outcome = runtime.block_on(platform.evaluate(evaluation.clone())).expect("an outcome");
    assert!(outcome.is_success(), "{}", outcome.verdict());
}
