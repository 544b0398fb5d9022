//! Allocations of all threads of a host, per evaluation, per sandboxed run and per piece of output.
//!
//! Each printed line contains a name, the number of allocations, and their bytes.

#![expect(clippy::expect_used, reason = "a failed measurement has nothing to report")]

#[path = "../../../support/allocator.rs"]
mod allocator;
#[path = "../../../support/noop_engine.rs"]
mod noop_engine;

use std::time::Duration;

use allocator::Allocated;
use crucible::engine::{OutputSink, RunContext};
use crucible::result::{Ending, Evidence};
use crucible::{
    Crucible, Engine, Evaluation, Limits, MemoryQueue, MemoryStorage, Outcome, SubprocessEngine,
};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: allocator::CountingAllocator = allocator::CountingAllocator;

const BUSYBOX: &str = "/bin/busybox";
/// Counted steps, after a tenth of that number as warm-up.
const STEPS: u64 = 100;
/// Pieces that a program writes, each as large as a pipe's capacity.
const PIECES: u64 = 200;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let evaluation = Evaluation::command([BUSYBOX, "echo", "hi"]);
    let platform = noop_platform(&runtime);
    say(
        "evaluation",
        per_step(|| {
            runtime.block_on(platform.evaluate(evaluation.clone())).expect("an outcome");
        }),
    );
    if !std::path::Path::new(BUSYBOX).exists() {
        return;
    }
    let cold = SubprocessEngine::new().expect("an engine");
    let ready = SubprocessEngine::builder().ready_sandboxes(4).build().expect("an engine");
    say("run", per_step(|| drop(run(&runtime, &cold, &evaluation, OutputSink::none()))));
    say("ready", per_step(|| drop(run(&runtime, &ready, &evaluation, OutputSink::none()))));
    say("chunk", per_piece(&runtime, &cold, OutputSink::none));
    // The subscriber receives each piece immediately.
    let listen = || {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        runtime.spawn(async move { while receiver.recv().await.is_some() {} });
        OutputSink::none().with_channel(sender)
    };
    say("chunk_streamed", per_piece(&runtime, &cold, listen));
}

/// Creates a platform over an engine without work.
fn noop_platform(runtime: &Runtime) -> Crucible {
    let _inside = runtime.enter();
    let outcome = Outcome::new(
        "nothing",
        vec![Evidence::Waited { ending: Ending::Exited { code: 0 }, after: Duration::ZERO }],
    );
    let builder = Crucible::builder().engine("only", noop_engine::NoopEngine { outcome });
    builder
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .build()
        .expect("a platform")
}

fn run(
    runtime: &Runtime,
    engine: &SubprocessEngine,
    evaluation: &Evaluation,
    output: OutputSink,
) -> Outcome {
    let context = RunContext::new().with_output(output);
    let outcome = runtime.block_on(engine.run(evaluation, &context)).expect("a run");
    assert!(outcome.is_success(), "{}: {}", outcome.verdict(), outcome.stderr.to_text());
    outcome
}

/// Returns the allocations of one step.
fn per_step(mut step: impl FnMut()) -> (f64, f64) {
    (0..STEPS / 10).for_each(|_| step());
    let before = Allocated::now();
    (0..STEPS).for_each(|_| step());
    let Allocated { count, bytes } = Allocated::since(before);
    (count as f64 / STEPS as f64, bytes as f64 / STEPS as f64)
}

/// Returns the allocations per piece of output: a run with many pieces minus a run with one, which
/// creates the buffers.
fn per_piece(
    runtime: &Runtime,
    engine: &SubprocessEngine,
    sink: impl Fn() -> OutputSink,
) -> (f64, f64) {
    let writing = |pieces: u64| {
        let count = format!("count={pieces}");
        Evaluation::command([BUSYBOX, "dd", "if=/dev/zero", "bs=64k", &count])
            .with_limits(Limits::new().with_output_bytes(1 << 30))
    };
    let allocated = |pieces| {
        let evaluation = writing(pieces);
        per_step(|| drop(run(runtime, engine, &evaluation, sink())))
    };
    let (one, many) = (allocated(1), allocated(PIECES + 1));
    ((many.0 - one.0) / PIECES as f64, (many.1 - one.1) / PIECES as f64)
}

fn say(name: &str, (count, bytes): (f64, f64)) {
    println!("{name} {count} {bytes}");
}
