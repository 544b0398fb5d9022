//! A scripted engine that starts no process and isolates nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::fake_run::FakeRun;
use super::fake_sandbox::{FakeSandbox, RunScript, SandboxCounts, enforcement};
use crate::engine::{Engine, EngineError, EngineInfo, Sandbox, SandboxSpec};
use crate::model::Command;

/// An engine that simulates commands by a script.
///
/// It starts no process, and its enforcement report lists every layer as waived.
#[derive(Clone)]
pub struct FakeEngine {
    script: Arc<RunScript>,
    counts: Arc<SandboxCounts>,
}

impl FakeEngine {
    /// Creates an engine on which every command exits with 0 immediately.
    #[must_use]
    pub fn new() -> Self {
        Self::scripted(|_| FakeRun::exit(0))
    }

    /// Creates an engine on which every command behaves as `script` returns.
    #[must_use]
    pub fn scripted(script: impl Fn(&Command) -> FakeRun + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), counts: Arc::default() }
    }

    /// Returns the number of sandboxes that were opened so far.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// Returns the number of sandboxes that are open now.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Returns the largest number of sandboxes that were open at the same time.
    #[must_use]
    pub fn open_peak(&self) -> usize {
        self.counts.open_peak.load(Ordering::SeqCst)
    }
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeEngine").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo::new("fake", enforcement())
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.info().admit(&spec.isolation, &spec.network)?;
        self.info().admit_image(spec.image.as_deref())?;
        let (script, counts) = (Arc::clone(&self.script), Arc::clone(&self.counts));
        Ok(Box::new(FakeSandbox::open(script, counts, spec.files)))
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
