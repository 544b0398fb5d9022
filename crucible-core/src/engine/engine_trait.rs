//! The engine trait.

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

/// A factory of sandboxes. Long-lived and shared between tasks.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Returns the engine's name, its layers and its features.
    ///
    /// # Behavior
    /// - The answer never changes during the life of the engine.
    /// - A waived layer is listed as waived.
    fn info(&self) -> EngineInfo;

    /// Opens a sandbox.
    ///
    /// # Behavior
    /// - The engine refuses a layer, limit or network policy that it cannot enforce. It skips
    ///   nothing.
    /// - The files of the spec exist when this returns.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. The program has not started.
    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError>;

    /// Runs an evaluation to its outcome: opens a sandbox, compiles, executes, collects, closes.
    ///
    /// # Behavior
    /// - The verdict is [`judge`](crate::judge()) of the evidence.
    /// - When this returns, no process, file or mount of the run exists.
    /// - A cancelled run ends with the verdict `Cancelled`, or with the true verdict.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run in the background and leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. Everything that the program does is part of the [`Outcome`].
    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        run_in_sandboxes(self, evaluation, context).await
    }

    /// Checks that the engine can run evaluations now.
    ///
    /// # Behavior
    /// - It queries the engine's dependencies, such as a daemon. It does not run a program.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if the engine cannot run evaluations now.
    async fn health(&self) -> Result<(), EngineError>;
}
