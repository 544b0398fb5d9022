//! What the platform adds to a run: from submitting an evaluation to having its outcome, over the engine alone, with queue
//! and storage in memory. Run it on a quiet machine: `cargo bench --bench platform_overhead [-- --rounds N]`.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]

mod support;

use crucible::{Crucible, Engine, Evaluation, MemoryQueue, MemoryStorage, RunContext, SubprocessEngine};
use crucible_core::testing::FakeEngine;
use support::{Case, Order, forget, print_table, rounds_or, run_rounds};
use tokio::runtime::Runtime;

fn main() -> Result<(), String> {
    let rounds = rounds_or(500)?;
    let runtime = Runtime::new().expect("a runtime");
    println!("engine that does nothing: all there is to measure is the platform's own");
    compare(&runtime, FakeEngine::new(), rounds);
    println!();
    println!("sandboxed Linux subprocesses");
    compare(&runtime, SubprocessEngine::new().expect("an engine"), rounds);
    Ok(())
}

fn compare(runtime: &Runtime, engine: impl Engine + Clone, rounds: usize) {
    let crucible = {
        let _inside = runtime.enter();
        let builder = Crucible::builder().engine("only", engine.clone());
        builder.queue(MemoryQueue::bounded(100)).storage(MemoryStorage::new()).build().expect("a platform")
    };
    let evaluation = Evaluation::command(["/bin/true"]);
    let context = RunContext::new();
    let mut cases = [
        Case::new("engine.run", || {
            // On a worker of the runtime, as the platform does it.
            let (engine, evaluation, context) = (engine.clone(), evaluation.clone(), context.clone());
            let run = runtime.spawn(async move { engine.run(&evaluation, &context).await });
            let outcome = runtime.block_on(run).expect("no panic").expect("a run");
            assert!(outcome.is_success(), "{}", outcome.verdict());
        }),
        Case::new("crucible.evaluate", || {
            let outcome = runtime.block_on(crucible.evaluate(evaluation.clone())).expect("an outcome");
            assert!(outcome.is_success(), "{}", outcome.verdict());
        }),
    ];
    let mut order = Order::new();
    run_rounds(&mut cases, 20, &mut order);
    forget(&mut cases);
    run_rounds(&mut cases, rounds, &mut order);
    print_table(&cases);
    let [alone, platform] = cases.map(|case| case.median());
    println!("the platform adds {} us (at most 200)", platform.saturating_sub(alone).as_micros());
}
