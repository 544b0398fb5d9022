//! The engine on an unsupported platform.

use std::convert::Infallible;

use async_trait::async_trait;
use crucible_core::{
    Enforcement, Engine, EngineError, EngineInfo, HostReport, Layer, Sandbox, SandboxSpec,
};
use crucible_guest_client::ReadyStats;

use crate::ENGINE_NAME;
use crate::config::SubprocessBuilder;

fn unsupported() -> EngineError {
    EngineError::Unsupported {
        engine: ENGINE_NAME.to_owned(),
        what: "this platform: it needs Linux on x86_64".to_owned(),
    }
}

/// Returns a report in which every layer is missing.
#[must_use]
pub fn doctor() -> HostReport {
    Layer::ALL.iter().fold(HostReport::new(ENGINE_NAME), |report, layer| {
        report.with_missing(*layer, "not on this platform", "run on Linux, x86_64")
    })
}

/// The engine of sandboxed Linux subprocesses. It cannot be created on this platform.
#[derive(Debug, Clone)]
pub struct SubprocessEngine(Infallible);

impl SubprocessEngine {
    /// Returns an error: this platform is not supported.
    ///
    /// # Errors
    /// Always fails.
    pub fn new() -> Result<Self, EngineError> {
        Err(unsupported())
    }

    /// Returns a builder with the default configuration.
    #[must_use]
    pub fn builder() -> SubprocessBuilder {
        SubprocessBuilder::new()
    }

    /// Returns the statistics of ready sandboxes.
    #[must_use]
    pub fn ready_sandbox_stats(&self) -> ReadyStats {
        match self.0 {}
    }

    /// Returns the statistics of slots.
    #[must_use]
    pub fn slot_stats(&self) -> ReadyStats {
        match self.0 {}
    }

    /// Returns the statistics of ready interpreters.
    #[must_use]
    pub fn ready_interpreter_stats(&self) -> ReadyStats {
        match self.0 {}
    }

    pub(crate) fn from_builder(_builder: SubprocessBuilder) -> Result<Self, EngineError> {
        Err(unsupported())
    }
}

#[async_trait]
impl Engine for SubprocessEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo::new(ENGINE_NAME, Enforcement::new())
    }

    async fn open(&self, _spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Err(unsupported())
    }

    async fn health(&self) -> Result<(), EngineError> {
        Err(unsupported())
    }
}
