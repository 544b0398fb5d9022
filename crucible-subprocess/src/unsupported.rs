//! The engine on a platform that it does not know.

use async_trait::async_trait;
use crucible_core::{
    Enforcement, Engine, EngineError, EngineInfo, HostReport, Layer, Sandbox, SandboxSpec,
};

use crate::config::SubprocessBuilder;

fn unsupported() -> EngineError {
    EngineError::Unsupported {
        engine: "subprocess".to_owned(),
        what: "this platform: it needs Linux on x86_64".to_owned(),
    }
}

/// What this host offers: nothing.
#[must_use]
pub fn doctor() -> HostReport {
    Layer::ALL.iter().fold(HostReport::new("subprocess"), |report, layer| {
        report.with_missing(*layer, "not on this platform", "run on Linux, x86_64")
    })
}

/// The engine of sandboxed Linux subprocesses. It cannot be made on this platform.
#[derive(Debug, Clone)]
pub struct SubprocessEngine(std::convert::Infallible);

impl SubprocessEngine {
    /// Says that this platform is not supported.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> Result<Self, EngineError> {
        Err(unsupported())
    }

    /// How an engine is made, elsewhere.
    #[must_use]
    pub fn builder() -> SubprocessBuilder {
        SubprocessBuilder::new()
    }

    /// How the sandboxes that are opened ahead of time have fared.
    #[must_use]
    pub fn ready_sandbox_stats(&self) -> crucible_guest_client::ReadyStats {
        match self.0 {}
    }

    /// How the interpreters that are started ahead of time have fared.
    #[must_use]
    pub fn ready_interpreter_stats(&self) -> crucible_guest_client::ReadyStats {
        match self.0 {}
    }

    pub(crate) fn from_builder(_builder: SubprocessBuilder) -> Result<Self, EngineError> {
        Err(unsupported())
    }
}

#[async_trait]
impl Engine for SubprocessEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo::new("subprocess", Enforcement::new())
    }

    async fn open(&self, _spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Err(unsupported())
    }

    async fn health(&self) -> Result<(), EngineError> {
        Err(unsupported())
    }
}
