//! One evaluation over an engine's sandboxes: open, put files, compile, execute, collect, close.

use std::time::Instant;

use super::artifact_collector::collect_artifacts;
use super::context::RunContext;
use super::engine_trait::Engine;
use super::error::EngineError;
use super::exec::{ExecOptions, ExecOutcome, OnExit, Stdin};
use super::plan::{EvaluationPlan, PlannedCompile, PlannedFile};
use super::sandbox::Sandbox;
use super::sandbox_spec::SandboxSpec;
use crate::model::{Evaluation, Program};
use crate::result::{Evidence, Outcome};

/// Runs an evaluation over the sandboxes of `engine`. This is [`Engine::run`]'s default.
///
/// # Errors
/// Those of [`Engine::run`].
pub async fn run_in_sandboxes<E: Engine + ?Sized>(
    engine: &E,
    evaluation: &Evaluation,
    context: &RunContext,
) -> Result<Outcome, EngineError> {
    let began = Instant::now();
    let plan = EvaluationPlan::new(evaluation, &context.languages)?;
    if let Some(name) = plan.command.lost_secrets().next() {
        return Err(EngineError::SecretLost { name: name.to_owned() });
    }
    let name = engine.info().name;
    let mut evidence = Vec::new();
    let mut files = plan.files;
    if let Some(compile) = plan.compile {
        let (exit, produced) =
            compile_step(engine, evaluation, context, &compile, files.clone()).await?;
        let verdict = exit.verdict();
        let succeeded = verdict.is_success();
        evidence.push(Evidence::Compiled { verdict });
        if exit.evidence.contains(&Evidence::CancelledBeforeStart) {
            // Not even the compiler was started: nothing isolated anything.
            evidence.push(Evidence::CancelledBeforeStart);
        }
        if !succeeded {
            return Ok(finish(Outcome::new(name, evidence), exit, context));
        }
        files.retain(|file| produced.iter().all(|new| new.path != file.path));
        files.extend(produced);
    }
    let spec = spec(evaluation, context)
        .with_limits(evaluation.limits.clone())
        .with_network(evaluation.network.clone())
        .with_files(files);
    let Some(sandbox) = open_unless_cancelled(engine, spec, context).await? else {
        evidence.push(Evidence::CancelledBeforeStart);
        return Ok(finish(Outcome::new(name, evidence), ExecOutcome::new(Vec::new()), context));
    };
    let after = if evaluation.collect.is_empty() { OnExit::Seal } else { OnExit::KillBackground };
    let io = ExecOptions::new()
        .with_stdin(Stdin::Bytes(evaluation.stdin.clone()))
        .with_output(context.output.clone())
        .with_capture_bytes(evaluation.capture_bytes)
        .with_cancel(context.cancel.clone())
        .with_on_exit(after);
    let opened = began.elapsed();
    let mut exit = sandbox.exec(&plan.command, io).await?;
    exit.usage.setup += opened;
    evidence.append(&mut exit.evidence);
    let (artifacts, skipped) = match after {
        OnExit::KillBackground => collect_artifacts(sandbox.as_ref(), &evaluation.collect).await?,
        _ => (Vec::new(), Vec::new()),
    };
    sandbox.close().await?;
    let outcome = Outcome::new(name, evidence).with_artifacts(artifacts, skipped);
    Ok(finish(outcome, exit, context))
}

/// What the sandboxes of a run have in common.
fn spec(evaluation: &Evaluation, context: &RunContext) -> SandboxSpec {
    let language = match &evaluation.program {
        Program::Source { language, .. } => {
            context.languages.get(language).map(|known| known.name.clone())
        }
        Program::Command(_) => None,
    };
    SandboxSpec::new()
        .with_isolation(evaluation.isolation.clone())
        .with_image(evaluation.image.clone())
        .with_language(language)
        .with_evaluation(context.evaluation)
}

fn finish(outcome: Outcome, exit: ExecOutcome, context: &RunContext) -> Outcome {
    let mut usage = exit.usage;
    usage.queue = context.queued;
    outcome
        .with_output(exit.stdout, exit.stderr)
        .with_usage(usage)
        .with_enforcement(exit.enforcement)
}

async fn open_unless_cancelled<E: Engine + ?Sized>(
    engine: &E,
    spec: SandboxSpec,
    context: &RunContext,
) -> Result<Option<Box<dyn Sandbox>>, EngineError> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Ok(None),
        sandbox = engine.open(spec) => sandbox.map(Some),
    }
}

/// Compiles in a sandbox of its own. What it produced comes out as files; all else of it is gone.
async fn compile_step<E: Engine + ?Sized>(
    engine: &E,
    evaluation: &Evaluation,
    context: &RunContext,
    compile: &PlannedCompile,
    files: Vec<PlannedFile>,
) -> Result<(ExecOutcome, Vec<PlannedFile>), EngineError> {
    let spec = spec(evaluation, context).with_limits(compile.limits.clone()).with_files(files);
    let Some(sandbox) = open_unless_cancelled(engine, spec, context).await? else {
        return Ok((ExecOutcome::new(vec![Evidence::CancelledBeforeStart]), Vec::new()));
    };
    let io = ExecOptions::new()
        .with_capture_bytes(evaluation.capture_bytes)
        .with_cancel(context.cancel.clone())
        .with_on_exit(OnExit::KillBackground);
    let exit = sandbox.exec(&compile.command, io).await?;
    let mut produced = Vec::new();
    if exit.verdict().is_success() {
        let (artifacts, _) = collect_artifacts(sandbox.as_ref(), &compile.produces).await?;
        produced = artifacts
            .into_iter()
            .map(|file| {
                PlannedFile::new(file.path, file.content.unwrap_or_default(), file.executable)
            })
            .collect();
    }
    sandbox.close().await?;
    Ok((exit, produced))
}
