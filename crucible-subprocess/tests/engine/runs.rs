//! Helpers that run programs.

use crucible_conformance::slowness;
use crucible_core::{Engine as _, Evaluation, Layer, Limits, Outcome, RunContext};
use crucible_subprocess::{RootFs, SubprocessEngine};

use super::support::unavailable_layers;

/// Creates an engine with every available layer except these.
pub(crate) fn without(layers: &[Layer]) -> SubprocessEngine {
    let builder = SubprocessEngine::builder();
    let builder = unavailable_layers()
        .iter()
        .chain(layers)
        .fold(builder, |builder, layer| builder.waive(*layer));
    builder.build().unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)))
}

/// Creates an engine with a root file system and every available layer.
pub(crate) fn with_root(root: RootFs) -> Result<SubprocessEngine, crucible_core::EngineError> {
    let builder = SubprocessEngine::builder().root(root);
    unavailable_layers().iter().fold(builder, |builder, layer| builder.waive(*layer)).build()
}

/// Runs an evaluation in a new runtime.
#[track_caller]
pub(crate) fn run(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(engine.run(&with_slowness(evaluation), &RunContext::new())) {
        Ok(outcome) => outcome,
        Err(error) => panic!("the infrastructure failed: {}", crucible_core::error_chain(&error)),
    }
}

/// Extends default time limits on emulated machines. A test's own time limits are unchanged.
fn with_slowness(evaluation: &Evaluation) -> Evaluation {
    let (usual, mut limits) = (Limits::new(), evaluation.limits.clone());
    if limits.wall == usual.wall {
        limits.wall *= slowness();
    }
    if limits.cpu == usual.cpu {
        limits.cpu *= slowness();
    }
    evaluation.clone().with_limits(limits)
}

/// Runs a Python program, which must exit with 0, and returns its trimmed output.
#[track_caller]
pub(crate) fn python(engine: &SubprocessEngine, limits: &Limits, source: &str) -> String {
    printed(&run(engine, &Evaluation::python(source).with_limits(limits.clone())))
}

/// Returns the trimmed output of a program that exited with 0.
#[track_caller]
pub(crate) fn printed(outcome: &Outcome) -> String {
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    assert!(outcome.is_success(), "{}: {stdout}\n{stderr}", outcome.verdict());
    stdout.trim().to_owned()
}
