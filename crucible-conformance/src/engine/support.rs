//! Helpers of the cases.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{
    Captured, Deviation, Engine, EngineError, Evaluation, Evidence, ExecOptions, ExecOutcome,
    Isolation, Layer, LayerStatus, Limit, Limits, Outcome, RunContext, Sandbox, SandboxSpec,
    Verdict, judge,
};

pub(super) use crate::suite::slowness;

pub(super) type Subject = Arc<dyn Engine>;

pub(super) const MIB: u64 = 1024 * 1024;

/// The time in which an expected event must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Includes a program of the suite by its file name.
macro_rules! program {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/programs/", $file))
    };
}
pub(super) use program;

/// Returns the factor for deadlines, which is larger for an engine with slow system calls.
pub(super) fn slowness_of(engine: &Subject) -> u32 {
    slowness() * if engine.info().differs(Deviation::SlowCalls) { 10 } else { 1 }
}

/// Returns limits under which every program of the suite gets its verdict soon.
pub(super) fn limits() -> Limits {
    Limits::new()
        .with_wall(Duration::from_secs(20) * slowness())
        .with_cpu(Duration::from_secs(10) * slowness())
        .with_memory_bytes(128 * MIB)
        .with_processes(32)
        .with_output_bytes(MIB)
        .with_disk_bytes(16 * MIB)
        .with_inodes(1000)
}

/// Runs an evaluation and checks that the outcome is consistent.
pub(super) async fn run(engine: &Subject, evaluation: &Evaluation) -> Outcome {
    run_in(engine, evaluation, &RunContext::new()).await
}

/// Runs an evaluation that must get this verdict.
///
/// If the whole sandbox ends when memory runs out, the engine may learn of the end without the
/// reason. It reports a lost run, which the caller retries. A few retries must be enough.
pub(super) async fn run_to(
    engine: &Subject,
    evaluation: &Evaluation,
    verdict: &Verdict,
) -> Outcome {
    const TRIES: usize = 5;
    let may_be_lost =
        *verdict == exceeded(Limit::Memory) && engine.info().differs(Deviation::OutOfMemoryEndsAll);
    for _ in 1..(if may_be_lost { TRIES } else { 1 }) {
        match engine.run(evaluation, &RunContext::new()).await {
            Err(EngineError::Lost { .. }) => {}
            Err(error) => {
                panic!("the infrastructure failed: {}", crucible_core::error_chain(&error))
            }
            Ok(outcome) => {
                check(engine, &outcome);
                assert_verdict(&outcome, verdict);
                return outcome;
            }
        }
    }
    let outcome = run(engine, evaluation).await;
    assert_verdict(&outcome, verdict);
    outcome
}

pub(super) async fn run_in(
    engine: &Subject,
    evaluation: &Evaluation,
    context: &RunContext,
) -> Outcome {
    let outcome = match engine.run(evaluation, context).await {
        Ok(outcome) => outcome,
        Err(error) => panic!("the infrastructure failed: {}", crucible_core::error_chain(&error)),
    };
    check(engine, &outcome);
    outcome
}

/// Asserts the invariants of every outcome.
fn check(engine: &Subject, outcome: &Outcome) {
    let info = engine.info();
    assert_eq!(outcome.engine, info.name);
    assert_eq!(
        *outcome.verdict(),
        judge(outcome.evidence()),
        "the verdict follows from the evidence"
    );
    if !outcome.evidence().contains(&Evidence::CancelledBeforeStart) {
        for report in info.enforcement.reports() {
            assert_eq!(outcome.enforcement.status(report.layer), report.status, "{}", report.layer);
        }
    }
    let json = serde_json::to_string(outcome).expect("an outcome has a wire form");
    let read: Outcome = serde_json::from_str(&json).expect("the wire form can be read");
    assert_eq!(read.verdict(), outcome.verdict());
}

/// Runs a shell script, which must exit with 0, and returns its output.
pub(super) async fn shell(engine: &Subject, script: &str) -> String {
    stdout_of(&run(engine, &Evaluation::shell(script).with_limits(limits())).await)
}

/// Runs a Python program, which must exit with 0, and returns its output.
pub(super) async fn python(engine: &Subject, source: &str) -> String {
    stdout_of(&run(engine, &Evaluation::python(source).with_limits(limits())).await)
}

/// Returns the output of a program that exited with 0.
pub(super) fn stdout_of(outcome: &Outcome) -> String {
    assert!(outcome.is_success(), "{}: {}", outcome.verdict(), outcome.stderr.to_text());
    outcome.stdout.to_text().into_owned()
}

/// Returns the output of a command that exited with 0.
pub(super) fn exec_stdout(exit: &ExecOutcome) -> String {
    assert!(exit.verdict().is_success(), "{}: {}", exit.verdict(), exit.stderr.to_text());
    exit.stdout.to_text().into_owned()
}

pub(super) fn exceeded(limit: Limit) -> Verdict {
    Verdict::LimitExceeded { limit }
}

#[track_caller]
pub(super) fn assert_verdict(outcome: &Outcome, verdict: &Verdict) {
    assert_eq!(
        outcome.verdict(),
        verdict,
        "evidence: {:?}, stdout: {}, stderr: {}",
        outcome.evidence(),
        excerpt(&outcome.stdout),
        excerpt(&outcome.stderr)
    );
}

/// Returns the beginning of captured output.
fn excerpt(captured: &Captured) -> String {
    captured.to_text().chars().take(2000).collect()
}

/// Returns `true` if the engine enforces all of these layers.
///
/// For a waived layer, asserts that the engine refuses a sandbox that requires it, and that
/// outcomes report it as waived.
pub(super) async fn enforces(engine: &Subject, layers: &[Layer]) -> bool {
    let enforcement = engine.info().enforcement;
    let mut all = true;
    for layer in layers {
        match enforcement.status(*layer) {
            LayerStatus::Enforced => continue,
            status => {
                let spec = SandboxSpec::new().with_isolation(Isolation::require([*layer]));
                match engine.open(spec).await {
                    Err(EngineError::LayerUnavailable { missing }) => {
                        assert_eq!(missing[0].layer, *layer);
                    }
                    other => panic!(
                        "`{layer}` is {status}, and a sandbox that requires it got {other:?}"
                    ),
                }
                let outcome =
                    run(engine, &Evaluation::command(["true"]).with_limits(limits())).await;
                assert_eq!(outcome.enforcement.status(*layer), status);
                all = false;
            }
        }
    }
    all
}

pub(super) async fn open(engine: &Subject) -> Box<dyn Sandbox> {
    match engine.open(SandboxSpec::new().with_limits(limits())).await {
        Ok(sandbox) => sandbox,
        Err(error) => panic!("cannot open a sandbox: {}", crucible_core::error_chain(&error)),
    }
}

/// Runs a shell command in a sandbox.
pub(super) async fn sh(sandbox: &dyn Sandbox, script: &str) -> ExecOutcome {
    sh_with(sandbox, script, ExecOptions::new()).await
}

pub(super) async fn sh_with(sandbox: &dyn Sandbox, script: &str, io: ExecOptions) -> ExecOutcome {
    let command = crucible_core::Command::new(["sh", "-c", script]);
    match sandbox.exec(&command, io).await {
        Ok(exit) => exit,
        Err(error) => panic!("the infrastructure failed: {}", crucible_core::error_chain(&error)),
    }
}
