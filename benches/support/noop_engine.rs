//! An engine without work, so that a measurement shows the platform alone.

use async_trait::async_trait;
use crucible_core::{
    Enforcement, Engine, EngineError, EngineInfo, Evaluation, Layer, LayerStatus, Outcome,
    RunContext, Sandbox, SandboxSpec,
};

/// An engine that returns a fixed outcome.
#[derive(Debug)]
pub(crate) struct NoopEngine {
    pub(crate) outcome: Outcome,
}

#[async_trait]
impl Engine for NoopEngine {
    fn info(&self) -> EngineInfo {
        let enforced =
            |report: Enforcement, layer: &Layer| report.with(*layer, LayerStatus::Waived, "");
        EngineInfo::new("nothing", Layer::ALL.iter().fold(Enforcement::new(), enforced))
    }

    async fn open(&self, _: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Err(EngineError::Unsupported { engine: "nothing".to_owned(), what: "sandboxes".to_owned() })
    }

    async fn run(&self, _: &Evaluation, _: &RunContext) -> Result<Outcome, EngineError> {
        Ok(self.outcome.clone())
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
