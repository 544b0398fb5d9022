//! Running programs, for tests that are not about running.

use crucible_conformance::slowness;
use crucible_core::{Engine as _, Evaluation, Layer, Limits, Outcome, RunContext};
use crucible_subprocess::{RootFs, SubprocessEngine};

use super::support::not_for_this_user;

/// An engine with every layer that this user can have, but for these.
pub(crate) fn without(layers: &[Layer]) -> SubprocessEngine {
    let builder = SubprocessEngine::builder();
    let builder = not_for_this_user()
        .iter()
        .chain(layers)
        .fold(builder, |builder, layer| builder.waive(*layer));
    builder.build().unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)))
}

/// An engine with this root file system, and every layer that this user can have.
pub(crate) fn with_root(root: RootFs) -> Result<SubprocessEngine, crucible_core::EngineError> {
    let builder = SubprocessEngine::builder().root(root);
    not_for_this_user().iter().fold(builder, |builder, layer| builder.waive(*layer)).build()
}

/// Runs an evaluation, in a runtime of its own.
#[track_caller]
pub(crate) fn run(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(engine.run(&patient(evaluation), &RunContext::new())) {
        Ok(outcome) => outcome,
        Err(error) => panic!("the infrastructure failed: {}", crucible_core::error_chain(&error)),
    }
}

/// With more time where machines are emulated, unless the test means its limits on time.
fn patient(evaluation: &Evaluation) -> Evaluation {
    let (usual, mut limits) = (Limits::new(), evaluation.limits.clone());
    if limits.wall == usual.wall {
        limits.wall *= slowness();
    }
    if limits.cpu == usual.cpu {
        limits.cpu *= slowness();
    }
    evaluation.clone().with_limits(limits)
}

/// Runs Python source that must come to its end; gives what it printed.
#[track_caller]
pub(crate) fn python(engine: &SubprocessEngine, limits: &Limits, source: &str) -> String {
    printed(&run(engine, &Evaluation::python(source).with_limits(limits.clone())))
}

/// What a program printed that must have come to its end.
#[track_caller]
pub(crate) fn printed(outcome: &Outcome) -> String {
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    assert!(outcome.is_success(), "{}: {stdout}\n{stderr}", outcome.verdict());
    stdout.trim().to_owned()
}
