//! Engines for cases that a script cannot express.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::testing::FakeEngine;
use crucible_core::{
    Ending, Engine, EngineError, EngineInfo, Evaluation, Evidence, KillReason, Outcome,
    OutputChunk, OutputStream, RunContext, Sandbox, SandboxSpec, Signal, run_in_sandboxes,
};
use tokio::sync::Notify;
use tokio::time::timeout;

/// An engine that takes a minute to open a sandbox, and notifies the test when it starts.
#[derive(Debug)]
pub(crate) struct SlowOpenEngine {
    pub(crate) inner: FakeEngine,
    pub(crate) opening: Arc<Notify>,
}

#[async_trait]
impl Engine for SlowOpenEngine {
    fn info(&self) -> EngineInfo {
        self.inner.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.opening.notify_one();
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.inner.open(spec).await
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        run_in_sandboxes(self, evaluation, context).await
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.inner.health().await
    }
}

/// An engine that writes chunks of ten bytes and ends programs at their wall limit.
///
/// The first argument of a program is the number of chunks.
#[derive(Clone)]
pub(crate) struct OutputEngine;

impl fmt::Debug for OutputEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputEngine")
    }
}

#[async_trait]
impl Engine for OutputEngine {
    fn info(&self) -> EngineInfo {
        FakeEngine::new().info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        FakeEngine::new().open(spec).await
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        let crucible_core::Program::Command(command) = &evaluation.program else {
            panic!("no command")
        };
        let chunks: u64 = command.argv[1].parse().unwrap();
        let writing = async {
            for chunk in 0..chunks {
                let bytes = Bytes::from(format!("{chunk:010}"));
                context
                    .output
                    .send(OutputChunk::new(OutputStream::Stdout, chunk * 10, bytes))
                    .await;
            }
        };
        let after = evaluation.limits.wall;
        let evidence = match timeout(after, writing).await {
            Ok(()) => {
                Evidence::Waited { ending: Ending::Exited { code: 0 }, after: Duration::ZERO }
            }
            Err(_) => Evidence::Killed { signal: Signal::KILL, reason: KillReason::Wall, after },
        };
        Ok(Outcome::new("output", vec![evidence]))
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
