//! The default run of an evaluation: open, compile, execute, collect, close.

use std::time::Instant;

use super::artifact_collector::collect_artifacts;
use super::context::RunContext;
use super::engine_trait::Engine;
use super::error::EngineError;
use super::exec::{ExecOptions, ExecOutcome, OnExit, Stdin};
use super::plan::{EvaluationPlan, PlannedCompile, PlannedFile};
use super::sandbox::Sandbox;
use super::sandbox_spec::SandboxSpec;
use crate::model::{Command, Evaluation, Program};
use crate::result::{Artifact, Evidence, Outcome, Skipped};

/// Runs an evaluation in sandboxes of `engine`. This is the default of [`Engine::run`].
///
/// # Errors
/// See [`Engine::run`].
pub async fn run_in_sandboxes<E: Engine + ?Sized>(
    engine: &E,
    evaluation: &Evaluation,
    context: &RunContext,
) -> Result<Outcome, EngineError> {
    let plan = EvaluationPlan::new(evaluation, &context.languages)?;
    if let Some(name) = plan.command.lost_secrets().next() {
        return Err(EngineError::SecretLost { name: name.to_owned() });
    }
    SandboxRun { engine, evaluation, context, began: Instant::now() }.run(plan).await
}

/// One run of an evaluation.
struct SandboxRun<'a, E: ?Sized> {
    engine: &'a E,
    evaluation: &'a Evaluation,
    context: &'a RunContext,
    began: Instant,
}

/// The results of the main command.
struct ExecResult {
    exit: ExecOutcome,
    artifacts: Vec<Artifact>,
    skipped: Vec<Skipped>,
}

impl<E: Engine + ?Sized> SandboxRun<'_, E> {
    /// Compiles if the plan has a compile step, then executes.
    async fn run(&self, plan: EvaluationPlan) -> Result<Outcome, EngineError> {
        let mut evidence = Vec::new();
        let mut files = plan.files;
        if let Some(compile) = plan.compile {
            let (exit, produced) = self.compile(&compile, files.clone()).await?;
            let verdict = exit.verdict();
            let succeeded = verdict.is_success();
            evidence.push(Evidence::Compiled { verdict });
            if exit.evidence.contains(&Evidence::CancelledBeforeStart) {
                // The compiler did not start either, so no isolation was in force.
                evidence.push(Evidence::CancelledBeforeStart);
            }
            if !succeeded {
                return Ok(self.outcome(evidence, exit));
            }
            files.retain(|file| produced.iter().all(|new| new.path != file.path));
            files.extend(produced);
        }
        let Some(mut result) = self.execute(&plan.command, files).await? else {
            evidence.push(Evidence::CancelledBeforeStart);
            return Ok(self.outcome(evidence, ExecOutcome::new(Vec::new())));
        };
        evidence.append(&mut result.exit.evidence);
        let outcome = self.outcome(evidence, result.exit);
        Ok(outcome.with_artifacts(result.artifacts, result.skipped))
    }

    /// Compiles in a separate sandbox, and returns the files that the compiler produced.
    async fn compile(
        &self,
        compile: &PlannedCompile,
        files: Vec<PlannedFile>,
    ) -> Result<(ExecOutcome, Vec<PlannedFile>), EngineError> {
        let spec = self.spec().with_limits(compile.limits.clone()).with_files(files);
        let Some(sandbox) = self.open_unless_cancelled(spec).await? else {
            return Ok((ExecOutcome::new(vec![Evidence::CancelledBeforeStart]), Vec::new()));
        };
        let options = self.exec_options(OnExit::KillBackground);
        let exit = sandbox.exec(&compile.command, options).await?;
        let mut produced = Vec::new();
        if exit.verdict().is_success() {
            let (artifacts, _) = collect_artifacts(sandbox.as_ref(), &compile.produces).await?;
            produced.extend(artifacts.into_iter().map(planned_file));
        }
        sandbox.close().await?;
        Ok((exit, produced))
    }

    /// Executes the main command and collects its artifacts.
    ///
    /// Returns `None` if the run was cancelled before the start.
    async fn execute(
        &self,
        command: &Command,
        files: Vec<PlannedFile>,
    ) -> Result<Option<ExecResult>, EngineError> {
        let spec = self
            .spec()
            .with_limits(self.evaluation.limits.clone())
            .with_network(self.evaluation.network.clone())
            .with_files(files);
        let Some(sandbox) = self.open_unless_cancelled(spec).await? else { return Ok(None) };
        let collect = &self.evaluation.collect;
        let on_exit = if collect.is_empty() { OnExit::Seal } else { OnExit::KillBackground };
        let options = self
            .exec_options(on_exit)
            .with_stdin(Stdin::Bytes(self.evaluation.stdin.clone()))
            .with_output(self.context.output.clone());
        let setup = self.began.elapsed();
        let mut exit = sandbox.exec(command, options).await?;
        exit.usage.setup += setup;
        let (artifacts, skipped) = if collect.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            collect_artifacts(sandbox.as_ref(), collect).await?
        };
        sandbox.close().await?;
        Ok(Some(ExecResult { exit, artifacts, skipped }))
    }

    /// Opens a sandbox; returns `None` if the run is cancelled first.
    async fn open_unless_cancelled(
        &self,
        spec: SandboxSpec,
    ) -> Result<Option<Box<dyn Sandbox>>, EngineError> {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Ok(None),
            sandbox = self.engine.open(spec) => sandbox.map(Some),
        }
    }

    /// Returns the spec that all sandboxes of the run share.
    fn spec(&self) -> SandboxSpec {
        let language = match &self.evaluation.program {
            Program::Source { language, .. } => {
                self.context.languages.get(language).map(|known| known.name.clone())
            }
            Program::Command(_) => None,
        };
        SandboxSpec::new()
            .with_isolation(self.evaluation.isolation.clone())
            .with_image(self.evaluation.image.clone())
            .with_language(language)
            .with_evaluation(self.context.evaluation)
    }

    /// Returns the options that all commands of the run share.
    fn exec_options(&self, on_exit: OnExit) -> ExecOptions {
        ExecOptions::new()
            .with_capture_bytes(self.evaluation.capture_bytes)
            .with_cancel(self.context.cancel.clone())
            .with_on_exit(on_exit)
    }

    /// Returns the outcome that follows from the evidence and the last command.
    fn outcome(&self, evidence: Vec<Evidence>, exit: ExecOutcome) -> Outcome {
        let mut usage = exit.usage;
        usage.queue = self.context.queued;
        Outcome::new(self.engine.info().name, evidence)
            .with_output(exit.stdout, exit.stderr)
            .with_usage(usage)
            .with_enforcement(exit.enforcement)
    }
}

/// Returns the file of a compiler's artifact.
fn planned_file(artifact: Artifact) -> PlannedFile {
    let content = artifact.content.unwrap_or_default();
    PlannedFile::new(artifact.path, content, artifact.executable)
}
