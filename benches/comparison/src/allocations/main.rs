//! What is allocated, by all threads of a host: for an evaluation, for a sandboxed run, for a piece of output. It prints lines: a name, how
//! many allocations, how many bytes, each for one.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on has nothing to report")]

#[path = "../../../support/allocator.rs"]
mod allocator;
#[path = "../../../support/nothing.rs"]
mod nothing;

use std::time::Duration;

use allocator::Allocated;
use crucible::{
    Crucible, Ending, Engine, Evaluation, Evidence, Limits, MemoryQueue, MemoryStorage, Outcome,
    OutputSink, RunContext, SubprocessEngine,
};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

const BUSYBOX: &str = "/bin/busybox";
/// So many of each are counted, after a tenth of that: what is made once is made in these.
const STEPS: u64 = 100;
/// How many pieces a program writes, as much as a pipe holds each.
const PIECES: u64 = 200;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let evaluation = Evaluation::command([BUSYBOX, "echo", "hi"]);
    let nothing = platform(&runtime);
    say(
        "evaluation",
        per_step(|| {
            runtime.block_on(nothing.evaluate(evaluation.clone())).expect("an outcome");
        }),
    );
    if !std::path::Path::new(BUSYBOX).exists() {
        return;
    }
    let cold = SubprocessEngine::new().expect("an engine");
    let ready = SubprocessEngine::builder().ready_sandboxes(4).build().expect("an engine");
    say("run", per_step(|| drop(run(&runtime, &cold, &evaluation, OutputSink::none()))));
    say("preopened", per_step(|| drop(run(&runtime, &ready, &evaluation, OutputSink::none()))));
    say("chunk", per_piece(&runtime, &cold, OutputSink::none));
    // Whoever listens takes what comes at once.
    let listen = || {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        runtime.spawn(async move { while receiver.recv().await.is_some() {} });
        OutputSink::none().with_channel(sender)
    };
    say("chunk_streamed", per_piece(&runtime, &cold, listen));
}

fn platform(runtime: &Runtime) -> Crucible {
    let _inside = runtime.enter();
    let outcome = Outcome::new(
        "nothing",
        vec![Evidence::Waited { ending: Ending::Exited { code: 0 }, after: Duration::ZERO }],
    );
    let builder = Crucible::builder().engine("only", nothing::Nothing { outcome });
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

/// What one step allocates.
fn per_step(mut step: impl FnMut()) -> (f64, f64) {
    (0..STEPS / 10).for_each(|_| step());
    let before = Allocated::now();
    (0..STEPS).for_each(|_| step());
    let Allocated { count, bytes } = Allocated::since(before);
    (count as f64 / STEPS as f64, bytes as f64 / STEPS as f64)
}

/// What a piece of output allocates: a run that writes so many, less one that writes a single one, which is when buffers are made.
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
