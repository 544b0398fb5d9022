//! The container engine.

use std::sync::Arc;

use async_trait::async_trait;
use crucible_core::{
    Engine, EngineError, EngineInfo, Evaluation, Outcome, RunContext, Sandbox, SandboxSpec,
    run_in_sandboxes,
};
use crucible_guest_client::{GuestSandboxExt as _, ReadyStats};

use crate::config::Settings;
use crate::container::ContainerPool;
use crate::docker_builder::DockerBuilder;
use crate::sandbox::DockerSandbox;

/// The container engine. A handle; clones share one engine.
///
/// When the last handle and the last sandbox are dropped, every container of the engine is removed.
/// The drop blocks until the daemon has done so, for 20 seconds at most. [`close`](Self::close)
/// does the same without blocking.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    pool: Arc<ContainerPool>,
}

impl DockerEngine {
    /// Returns a builder with the default settings.
    #[must_use]
    pub fn builder() -> DockerBuilder {
        DockerBuilder::new()
    }

    pub(crate) async fn connect(settings: Settings) -> Result<Self, EngineError> {
        Ok(Self { pool: ContainerPool::connect(settings).await? })
    }

    /// Returns the statistics of the pool of ready containers.
    #[must_use]
    pub fn ready_stats(&self) -> ReadyStats {
        self.pool.stats()
    }

    /// Drops this handle without blocking. If it is the last one, waits until every container of
    /// the engine is removed.
    ///
    /// # Cancel safety
    /// After dropping the future, the removal continues in the background.
    pub async fn close(self) {
        // The engine is gone after a panic, too.
        let _closed = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn info(&self) -> EngineInfo {
        self.pool.info.clone()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let sandbox = DockerSandbox::open(&self.pool, spec).await?;
        sandbox.wait_until_ready().await?;
        Ok(Box::new(sandbox))
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        run_in_sandboxes(&RunEngine(self.clone()), evaluation, context).await
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.pool.health().await
    }
}

/// The engine during a run. It returns a sandbox before its input files are in place, because the
/// first command waits for them.
#[derive(Debug)]
struct RunEngine(DockerEngine);

#[async_trait]
impl Engine for RunEngine {
    fn info(&self) -> EngineInfo {
        self.0.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Ok(Box::new(DockerSandbox::open(&self.0.pool, spec).await?))
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.0.health().await
    }
}
