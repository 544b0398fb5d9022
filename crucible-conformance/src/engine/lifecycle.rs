//! Cases on the life of a run: cancellation, dropping, concurrency, usage.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{
    Command, Compile, Evaluation, Evidence, Language, Languages, OutputChunk, OutputSink,
    RunContext, SandboxPath, Verdict,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::support::{
    PATIENCE, Subject, assert_verdict, limits, program, run, run_in, slowness, stdout_of,
};

/// A run that was cancelled before its start does not start.
pub async fn run_cancelled_before_start_is_not_started(engine: Subject) {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let context = RunContext::new().with_cancel(cancel);
    let outcome =
        run_in(&engine, &Evaluation::shell("echo no").with_limits(limits()), &context).await;
    assert_verdict(&outcome, &Verdict::Cancelled);
    assert_eq!(outcome.evidence(), [Evidence::CancelledBeforeStart]);
    assert_eq!(outcome.stdout.total_bytes, 0);
}

/// A cancelled run keeps the output that the program wrote before.
pub async fn run_cancelled_while_running_keeps_output(engine: Subject) {
    let cancel = CancellationToken::new();
    let (sender, mut output) = mpsc::channel::<OutputChunk>(8);
    let context = RunContext::new()
        .with_cancel(cancel.clone())
        .with_output(OutputSink::none().with_channel(sender));
    let evaluation =
        Evaluation::shell("echo begun; trap '' TERM INT; sleep 1000").with_limits(limits());
    let when_begun = async {
        assert_eq!(output.recv().await.unwrap().bytes, "begun\n");
        cancel.cancel();
    };
    let cancelled = async { tokio::join!(run_in(&engine, &evaluation, &context), when_begun) };
    let (outcome, ()) = timeout(PATIENCE, cancelled).await.expect("the run ends");
    assert_verdict(&outcome, &Verdict::Cancelled);
    assert_eq!(outcome.stdout.to_text(), "begun\n");
    assert!(outcome.usage.wall < Duration::from_secs(10) * slowness());
}

/// A run can be cancelled during its compile step.
pub async fn run_cancelled_while_compiling_is_cancelled(engine: Subject) {
    let cancel = CancellationToken::new();
    // A compiler that is certainly still running.
    let compile = Compile::new(Command::new(["sleep", "1000"]), ["main"]);
    let file = SandboxPath::new("main.slow").unwrap_or_else(|_| SandboxPath::root());
    let slow = Language::new("slow", file, Command::new(["./main"])).with_compile(compile);
    let mut languages = Languages::none();
    languages.register(slow);
    let context = RunContext::new().with_cancel(cancel.clone()).with_languages(Arc::new(languages));
    let evaluation = Evaluation::source("slow", "").with_limits(limits());
    let soon = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(run_in(&engine, &evaluation, &context), soon);
    assert_verdict(&outcome, &Verdict::Cancelled);
}

/// Dropping a run leaves nothing behind, and the next run succeeds.
pub async fn dropped_run_leaves_no_state(engine: Subject) {
    for wait in [0, 1, 5, 20, 100] {
        let evaluation = Evaluation::shell("echo > /tmp/left; sleep 1000").with_limits(limits());
        let context = RunContext::new();
        let dropped = timeout(Duration::from_millis(wait), engine.run(&evaluation, &context)).await;
        assert!(dropped.is_err(), "the run does not end by itself");
    }
    let outcome =
        run(&engine, &Evaluation::shell("ls /tmp; echo next").with_limits(limits())).await;
    assert_eq!(stdout_of(&outcome), "next\n");
}

/// Each of many concurrent runs has its own input, output, and verdict.
pub async fn concurrent_runs_get_their_own_results(engine: Subject) {
    let mut runs = Vec::new();
    for number in 0..40 {
        let engine = Arc::clone(&engine);
        runs.push(tokio::spawn(async move {
            let evaluation = Evaluation::shell(format!("cat; echo $$ > /tmp/x; exit {number}"))
                .with_stdin(format!("input {number}"))
                .with_limits(limits().with_wall(Duration::from_secs(60) * slowness()));
            (number, run(&engine, &evaluation).await)
        }));
    }
    for run in runs {
        let (number, outcome) = run.await.unwrap();
        assert_verdict(&outcome, &Verdict::Exited { code: number });
        assert_eq!(outcome.stdout.to_text(), format!("input {number}"));
    }
}

/// Usage is reported after an exit, after a limit, and for a program that did not start.
pub async fn usage_is_reported_on_every_ending(engine: Subject) {
    let spin =
        "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n";
    let outcome = run(&engine, &Evaluation::python(spin).with_limits(limits())).await;
    let usage = &outcome.usage;
    assert!(usage.cpu() >= Duration::from_millis(250), "{usage:?}");
    assert!(usage.cpu() < Duration::from_secs(5) * slowness(), "{usage:?}");
    assert!(usage.wall >= Duration::from_millis(250), "{usage:?}");
    assert!(usage.memory_peak_bytes.is_none_or(|bytes| bytes > 1_000_000), "{usage:?}");
    assert!(usage.processes_peak.is_none_or(|count| (1..10).contains(&count)), "{usage:?}");
    let killed = Evaluation::python(program!("spin.py"))
        .with_limits(limits().with_cpu(Duration::from_millis(300)));
    let usage = run(&engine, &killed).await.usage;
    // The engine's own work for a command counts towards the limit until the end. On an emulated
    // machine this is a large part.
    assert!(usage.cpu() >= Duration::from_millis(250) / slowness(), "{usage:?}");
    let usage = run(&engine, &Evaluation::command(["/no/such"]).with_limits(limits())).await.usage;
    assert!(usage.setup > Duration::ZERO, "{usage:?}");
    assert_eq!(usage.wall, Duration::ZERO);
}
