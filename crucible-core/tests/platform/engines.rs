//! Engines that do what no script can.

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

/// An engine that takes a minute to open a sandbox, and says when it begins to.
#[derive(Debug)]
pub(crate) struct SlowToOpen {
    pub(crate) inner: FakeEngine,
    pub(crate) opening: Arc<Notify>,
}

#[async_trait]
impl Engine for SlowToOpen {
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

/// An engine whose programs write pieces of ten bytes, as many as their first argument says, and are killed after
/// their wall limit.
#[derive(Clone)]
pub(crate) struct Talkative;

impl fmt::Debug for Talkative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Talkative")
    }
}

#[async_trait]
impl Engine for Talkative {
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
        let pieces: u64 = command.argv[1].parse().unwrap();
        let talking = async {
            for piece in 0..pieces {
                let bytes = Bytes::from(format!("{piece:010}"));
                context
                    .output
                    .send(OutputChunk::new(OutputStream::Stdout, piece * 10, bytes))
                    .await;
            }
        };
        let after = evaluation.limits.wall;
        let evidence = match timeout(after, talking).await {
            Ok(()) => {
                Evidence::Waited { ending: Ending::Exited { code: 0 }, after: Duration::ZERO }
            }
            Err(_) => Evidence::Killed { signal: Signal::KILL, reason: KillReason::Wall, after },
        };
        Ok(Outcome::new("talkative", vec![evidence]))
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
