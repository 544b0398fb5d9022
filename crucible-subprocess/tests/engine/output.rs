//! A test with a host that reads more slowly than the program writes.

use std::time::Duration;

use super::support::engine;
use crucible_core::{Engine as _, Evaluation, Limits, OutputSink, RunContext, Verdict};
use tokio_util::sync::CancellationToken;

/// A run can be cancelled although there is always more output to read.
#[test]
fn run_with_backlogged_output_can_be_cancelled() {
    let engine = engine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    // The pipe is full again when the watcher returns.
    let slow = OutputSink::none().with_watcher(move |_| {
        std::thread::sleep(Duration::from_millis(20));
        token.cancel();
    });
    let context = RunContext::new().with_output(slow).with_cancel(cancel);
    let limits = Limits::new().with_wall(Duration::from_secs(20)).with_cpu(Duration::from_secs(20));
    let evaluation =
        Evaluation::command(["/usr/bin/yes"]).with_limits(limits.with_output_bytes(1 << 40));
    let outcome = runtime.block_on(engine.run(&evaluation, &context)).unwrap();
    assert_eq!(*outcome.verdict(), Verdict::Cancelled, "{:?}", outcome.evidence());
}
