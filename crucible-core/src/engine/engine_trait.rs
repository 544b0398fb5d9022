//! An engine: what makes sandboxes.

use std::fmt;

use async_trait::async_trait;

use super::context::RunContext;
use super::error::EngineError;
use super::info::EngineInfo;
use super::sandbox::Sandbox;
use super::sandbox_run::run_in_sandboxes;
use super::sandbox_spec::SandboxSpec;
use crate::model::Evaluation;
use crate::result::Outcome;

/// Makes sandboxes. Long-lived and shared.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// What the engine is and what it enforces.
    ///
    /// # Behavior
    /// - The same for the whole life of the engine.
    /// - A waived layer has a line of its own.
    fn info(&self) -> EngineInfo;

    /// Opens a sandbox.
    ///
    /// # Behavior
    /// - A layer, limit or network policy that the engine cannot enforce is refused; nothing is skipped.
    /// - The files of the spec are in place when this returns.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. The program has not started.
    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError>;

    /// Runs an evaluation to its outcome: open, put files, compile, execute, collect, close.
    ///
    /// # Behavior
    /// - The verdict is [`judge`](crate::judge()) of the evidence.
    /// - When this returns, nothing of the run is left: no process, no file, no mount.
    /// - Cancelled, it ends in `Cancelled` or in the true verdict.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run in the background and leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. Whatever the program does is an [`Outcome`].
    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        run_in_sandboxes(self, evaluation, context).await
    }

    /// Whether the engine can run something now.
    ///
    /// # Behavior
    /// - It asks what the engine stands on; it does not run a program.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// What stands in the way.
    async fn health(&self) -> Result<(), EngineError>;
}
