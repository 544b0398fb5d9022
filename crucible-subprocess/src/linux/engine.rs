//! The engine.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use crucible_core::{
    Engine, EngineError, EngineInfo, Evaluation, InvalidInput, Layer, Limits, Network, Outcome,
    RunContext, Sandbox, SandboxSpec, run_in_sandboxes,
};
use crucible_guest::protocol::SandboxPlan;
use crucible_guest_client::errors::setup;
use crucible_guest_client::{CheckOut, ReadyPool, ReadyStats};

use super::auditor::Auditor;
use super::egress::Names;
use super::holdings::Holdings;
use super::host::Host;
use super::interpreter::{self, Interpreter};
use super::janitor::{Janitor, Remains};
use super::lease::Lease;
use super::preopen::Preopened;
use super::resources::{Resources, Size};
use super::sandbox::SubprocessSandbox;
use super::spawner::SendError;
use super::word::Word;
use crate::config::SubprocessBuilder;

/// The engine's name.
pub(super) const NAME: &str = "subprocess";
/// How long the spawner may be behind before a sandbox is refused.
const SPAWNER_WAIT: Duration = Duration::from_secs(10);

/// The engine of sandboxed Linux subprocesses. A handle; clones share one engine.
///
/// When the last handle and the last sandbox are dropped, the spawner is ended and the engine's cgroups are removed. That
/// blocks for a few milliseconds.
#[derive(Debug, Clone)]
pub struct SubprocessEngine {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) drain_deadline: Duration,
    pub(super) info: EngineInfo,
    /// Where allow-lists lead.
    pub(super) names: Arc<Names>,
    pub(super) resources: Arc<Resources>,
    pub(super) janitor: Janitor,
    pub(super) word: Word,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // With the spawner every guest ends; then the janitor can give back what they held.
        self.resources.spawner.stop();
        self.resources.tcp_spawner.stop();
        self.janitor.stop();
        // The last: what was stopped by the filter has been answered, or has died.
        self.resources.auditor.stop();
    }
}

impl SubprocessEngine {
    /// An engine with every layer and the host's own root file system. Blocks for a few milliseconds.
    ///
    /// # Errors
    /// See [`SubprocessBuilder::build`].
    pub fn new() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// How an engine is made.
    #[must_use]
    pub fn builder() -> SubprocessBuilder {
        SubprocessBuilder::new()
    }

    /// How the sandboxes that are opened ahead of time have fared; see [`SubprocessBuilder::preopen`].
    #[must_use]
    pub fn ready_sandbox_stats(&self) -> ReadyStats {
        self.inner.resources.preopened.stats()
    }

    /// How the slots have fared; see [`SubprocessBuilder::slots`]. A slot that was given up for whatever reason counts as aged.
    #[must_use]
    pub fn slot_stats(&self) -> ReadyStats {
        self.inner.resources.slots.pool.stats()
    }

    /// How the interpreters that are started ahead of time have fared; see [`SubprocessBuilder::warm`].
    #[must_use]
    pub fn ready_interpreter_stats(&self) -> ReadyStats {
        self.inner.resources.interpreters.stats()
    }
}

impl Inner {
    pub(super) fn is_waived(&self, layer: Layer) -> bool {
        self.resources.waived.contains(&layer)
    }

    pub(super) fn host(&self) -> &Host {
        &self.resources.host
    }

    pub(super) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Whether the limits can be enforced here at all.
    pub(super) fn check_limits(&self, limits: &Limits) -> Result<(), EngineError> {
        InvalidInput::check(limits.problems("limits"))?;
        let open_files_max = self.host().open_files_max;
        if !self.is_waived(Layer::Rlimits) && u64::from(limits.open_files) > open_files_max {
            let what = format!(
                "{} open files: this host may have {open_files_max} (raise its hard limit, `ulimit -Hn`)",
                limits.open_files
            );
            return Err(EngineError::Unsupported { engine: NAME.to_owned(), what });
        }
        Ok(())
    }

    /// Takes what a sandbox needs of the host.
    pub(super) fn lease(
        self: &Arc<Self>,
        size: Size,
        network: &Network,
    ) -> Result<Lease, EngineError> {
        Ok(self.lease_of(self.resources.take(size, network)?))
    }

    /// What a sandbox holds of the host already.
    pub(super) fn lease_of(self: &Arc<Self>, holdings: Holdings) -> Lease {
        Lease::new(self, holdings)
    }

    /// A sandbox that stands already, if there is one, and its like are wanted.
    pub(super) fn take_preopened(&self, size: Size) -> Option<Preopened> {
        self.take_from(&self.resources.preopened, &size, |sandbox| sandbox, |sandbox| sandbox)
    }

    /// A sandbox that waits in a slot, for a tenant, if there is one.
    pub(super) fn take_from_slots(&self, size: Size, tenant: &str) -> Option<Preopened> {
        let slots = &self.resources.slots;
        if !slots.pool.is_wanted() {
            return None;
        }
        loop {
            let CheckOut { item, is_lacking } = slots.take(size, tenant);
            match item {
                Some(found) if !found.is_alive() => {
                    slots.record_failed(size);
                    self.bury(found.into_remains());
                }
                found => {
                    if is_lacking {
                        self.janitor.ring();
                    }
                    return found;
                }
            }
        }
    }

    /// An interpreter of one of the engine's languages that was started already, if there is one. Where the CPU time of a sandbox is
    /// not counted, nobody could tell its program's from that of its start.
    pub(super) fn take_interpreter(
        &self,
        language: usize,
        limits: &Limits,
    ) -> Result<Option<Interpreter>, EngineError> {
        if self.is_waived(Layer::CpuCgroup) {
            return Ok(None);
        }
        let kind = interpreter::Kind::new(language, limits, &self.resources)?;
        let waiting = &self.resources.interpreters;
        Ok(self.take_from(
            waiting,
            &kind,
            |interpreter| &interpreter.sandbox,
            |interpreter| interpreter.sandbox,
        ))
    }

    fn take_from<K: PartialEq + Clone, T>(
        &self,
        pool: &ReadyPool<K, T>,
        key: &K,
        sandbox: impl Fn(&T) -> &Preopened,
        into_sandbox: impl Fn(T) -> Preopened,
    ) -> Option<T> {
        if !pool.is_wanted() {
            return None;
        }
        let found = loop {
            match pool.take(key) {
                Some(found) if !sandbox(&found).is_alive() => {
                    pool.record_failed();
                    self.bury(into_sandbox(found).into_remains());
                }
                found => break found,
            }
        };
        // More are made as soon as a sandbox has ended, and the processors have time; here, if there may be none until then.
        if pool.is_low(key) {
            self.janitor.ring();
        }
        found
    }

    /// Who hears of violations.
    pub(super) fn auditor(&self) -> &Auditor {
        &self.resources.auditor
    }

    /// Asks the spawner for a sandbox; waits while it is behind, and starts it again if it has died.
    pub(super) async fn open_guest(
        self: &Arc<Self>,
        plan: &SandboxPlan,
        holdings: &Holdings,
        channel: BorrowedFd<'_>,
    ) -> Result<(), EngineError> {
        let deadline = tokio::time::Instant::now() + SPAWNER_WAIT;
        let mut restarted = false;
        loop {
            match self.resources.ask_spawner(plan, holdings, channel) {
                Ok(()) => return Ok(()),
                Err(SendError::Busy) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(SendError::Gone) if !restarted => {
                    restarted = true;
                    let (inner, plan) = (Arc::clone(self), *plan);
                    let start = move || inner.resources.spawner_for(&plan).restart();
                    let started = tokio::task::spawn_blocking(start).await;
                    started.map_err(|error| {
                        setup("start the spawner again", std::io::Error::other(error))
                    })??;
                }
                Err(SendError::Busy | SendError::Gone) => {
                    return Err(EngineError::Unavailable {
                        what: "the spawner".to_owned(),
                        source: None,
                    });
                }
                Err(SendError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Takes care of what is left of a sandbox, in the background.
    pub(super) fn bury(&self, remains: Remains) {
        self.resources.dying.fetch_add(1, Ordering::Relaxed);
        self.bury_dying(remains);
    }

    /// The same for one that counts as dying already.
    pub(super) fn bury_dying(&self, remains: Remains) {
        self.janitor.bury(remains);
    }
}

#[async_trait]
impl Engine for SubprocessEngine {
    fn info(&self) -> EngineInfo {
        self.inner.info.clone()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let sandbox = SubprocessSandbox::begin(&self.inner, spec, None, true).await?;
        sandbox.wait_until_ready().await?;
        Ok(Box::new(sandbox))
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        let warm =
            interpreter::language_of(&self.inner.resources.warm, evaluation, &context.languages)?;
        let has_slots = self.inner.resources.slots.pool.is_wanted();
        // Whoever compiles first has two sandboxes, and the second is as good.
        let tenant = has_slots.then(|| evaluation.tenant.clone());
        run_in_sandboxes(&RunEngine { engine: self.clone(), warm, tenant }, evaluation, context)
            .await
    }

    async fn health(&self) -> Result<(), EngineError> {
        if self.inner.resources.spawner.is_alive() {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let started = tokio::task::spawn_blocking(move || inner.resources.spawner.restart()).await;
        started.map_err(|error| setup("start the spawner again", std::io::Error::other(error)))?
    }
}

/// The engine as a run uses it: a sandbox is handed out before it stands, since its first command waits for that anyway.
#[derive(Debug)]
struct RunEngine {
    engine: SubprocessEngine,
    /// The language whose interpreter may wait for it already.
    warm: Option<usize>,
    /// On whose behalf it runs, where there are slots.
    tenant: Option<String>,
}

#[async_trait]
impl Engine for RunEngine {
    fn info(&self) -> EngineInfo {
        self.engine.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let inner = &self.engine.inner;
        let sandbox = match self.warm {
            Some(language) => SubprocessSandbox::begin_waiting(inner, spec, language).await?,
            None => SubprocessSandbox::begin(inner, spec, self.tenant.as_deref(), false).await?,
        };
        Ok(Box::new(sandbox))
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.engine.health().await
    }
}
