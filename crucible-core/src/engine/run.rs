//! One evaluation over an engine's sandboxes: open, put files, compile, execute, collect, close.

use std::time::Instant;

use crate::engine::engine::{Engine, RunContext};
use crate::engine::error::{EngineError, FileReason};
use crate::engine::plan::{Plan, PlannedCompile, PlannedFile};
use crate::engine::sandbox::{
    EntryKind, ExecOptions, ExecOutcome, OnExit, Sandbox, SandboxSpec, Stdin,
};
use crate::model::collect::Collect;
use crate::model::evaluation::{Evaluation, Program};
use crate::model::path::SandboxPath;
use crate::result::artifact::{Artifact, SkipReason, Skipped};
use crate::result::evidence::Evidence;
use crate::result::outcome::Outcome;

/// The most entries of directories that are looked at to find what is to come out. A real file system has no more names than
/// inodes; a guest can make up a tree without an end.
const ENTRIES_MAX: usize = 1_000_000;

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
    let plan = Plan::new(evaluation, &context.languages)?;
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
        OnExit::KillBackground => collect(sandbox.as_ref(), &evaluation.collect).await?,
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
        let (artifacts, _) = collect(sandbox.as_ref(), &compile.produces).await?;
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

/// Brings out what matches. What the guest's file system stands in the way of is skipped and listed, never an error.
async fn collect(
    sandbox: &dyn Sandbox,
    collect: &Collect,
) -> Result<(Vec<Artifact>, Vec<Skipped>), EngineError> {
    let matcher = collect.matcher();
    let mut artifacts = Vec::new();
    let mut skipped = Skips::default();
    let mut bytes_left = collect.bytes_max;
    let mut entries_left = ENTRIES_MAX;
    let mut directories = vec![(SandboxPath::root(), 1)];
    while let Some((directory, depth)) = directories.pop() {
        if entries_left == 0 {
            skipped.push(directory.as_str(), SkipReason::TooMany);
            break;
        }
        let listing = match sandbox.list(&directory).await {
            Ok(listing) => listing,
            Err(EngineError::File { .. }) => {
                skipped.push(directory.as_str(), SkipReason::Unreadable);
                continue;
            }
            Err(error) => return Err(error),
        };
        if listing.truncated {
            skipped.push(directory.as_str(), SkipReason::TooMany);
        }
        let mut entries = listing.entries;
        if entries.len() > entries_left {
            entries.truncate(entries_left);
            skipped.push(directory.as_str(), SkipReason::TooMany);
        }
        entries_left -= entries.len();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let Ok(path) = entry.path_in(&directory) else {
                skipped.push(&format!("{directory}/{}", entry.shown()), SkipReason::BadName);
                continue;
            };
            match entry.kind {
                EntryKind::Directory if depth >= collect.depth_max => {
                    skipped.push(path.as_str(), SkipReason::TooDeep);
                }
                EntryKind::Directory => directories.push((path, depth + 1)),
                _ if !matcher.matches(&path) => {}
                EntryKind::Other => skipped.push(path.as_str(), SkipReason::NotRegular),
                EntryKind::File if artifacts.len() >= collect.files_max => {
                    skipped.push(path.as_str(), SkipReason::TooMany);
                }
                EntryKind::File if entry.size_bytes > bytes_left => {
                    skipped.push(path.as_str(), SkipReason::TooLarge);
                }
                EntryKind::File => match sandbox.read(&path, bytes_left).await {
                    Ok(content) => {
                        bytes_left = bytes_left.saturating_sub(content.len() as u64);
                        artifacts.push(Artifact::new(path, content, entry.executable));
                    }
                    Err(EngineError::File { reason: FileReason::TooLarge, .. }) => {
                        skipped.push(path.as_str(), SkipReason::TooLarge);
                    }
                    Err(EngineError::File { .. }) => {
                        skipped.push(path.as_str(), SkipReason::Unreadable)
                    }
                    Err(error) => return Err(error),
                },
            }
        }
    }
    Ok((artifacts, skipped.0))
}

/// What was skipped, bounded: a guest can make more files than anyone wants to read about.
#[derive(Default)]
struct Skips(Vec<Skipped>);

impl Skips {
    const MAX: usize = 1000;

    fn push(&mut self, path: &str, reason: SkipReason) {
        if self.0.len() < Self::MAX {
            self.0.push(Skipped::new(path, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::engine::sandbox::{Entry, Listing};
    use crate::model::command::Command;
    use crate::result::usage::Usage;

    /// A guest that makes up directories in every directory.
    #[derive(Debug, Default)]
    struct Endless {
        listed: std::sync::atomic::AtomicUsize,
    }

    #[async_trait]
    impl Sandbox for Endless {
        async fn exec(&self, _: &Command, _: ExecOptions) -> Result<ExecOutcome, EngineError> {
            Ok(ExecOutcome::default())
        }

        async fn write(&self, _: &SandboxPath, _: Bytes, _: bool) -> Result<(), EngineError> {
            Ok(())
        }

        async fn read(&self, _: &SandboxPath, _: u64) -> Result<Bytes, EngineError> {
            Ok(Bytes::new())
        }

        async fn list(&self, _: &SandboxPath) -> Result<Listing, EngineError> {
            self.listed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let entry = |n: u32| Entry::new(n.to_string().into(), EntryKind::Directory, 0, false);
            Ok(Listing::new((0..50_000).map(entry).collect(), false))
        }

        async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
            Ok(Usage::default())
        }
    }

    #[tokio::test]
    async fn a_tree_without_an_end_is_cut_off() {
        let endless = Endless::default();
        let (artifacts, skipped) = collect(&endless, &Collect::matching(["**/*"])).await.unwrap();
        assert!(artifacts.is_empty());
        assert_eq!(skipped.len(), Skips::MAX);
        assert_eq!(endless.listed.into_inner(), ENTRIES_MAX / 50_000);
    }
}
