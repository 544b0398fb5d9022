//! The handle of an engine.

use std::sync::Arc;

use async_trait::async_trait;
use crucible_core::{
    Engine, EngineError, EngineInfo, Evaluation, Outcome, RunContext, Sandbox, SandboxSpec,
    run_in_sandboxes,
};
use crucible_guest_client::ReadyStats;

use super::engine_state::EngineState;
use crate::config::SubprocessBuilder;
use crate::linux::interpreter::language_for;

/// The engine of sandboxed Linux subprocesses. A handle: clones share one engine.
///
/// Dropping the last handle and the last sandbox ends the spawner and removes the engine's cgroups.
/// That blocks for a few milliseconds.
#[derive(Debug, Clone)]
pub struct SubprocessEngine {
    pub(crate) state: Arc<EngineState>,
}

impl SubprocessEngine {
    /// Creates an engine with every layer and the host's own root file system. Blocks for a few
    /// milliseconds.
    ///
    /// # Errors
    /// See [`SubprocessBuilder::build`].
    pub fn new() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// Returns a builder with the default configuration.
    #[must_use]
    pub fn builder() -> SubprocessBuilder {
        SubprocessBuilder::new()
    }

    /// Returns the statistics of ready sandboxes, see [`SubprocessBuilder::ready_sandboxes`].
    #[must_use]
    pub fn ready_sandbox_stats(&self) -> ReadyStats {
        self.state.cache.sandbox_stats()
    }

    /// Returns the statistics of slots, see [`SubprocessBuilder::slots`]. A slot that was ended for
    /// any reason counts as aged.
    #[must_use]
    pub fn slot_stats(&self) -> ReadyStats {
        self.state.cache.slot_stats()
    }

    /// Returns the statistics of ready interpreters, see [`SubprocessBuilder::ready_interpreters`].
    #[must_use]
    pub fn ready_interpreter_stats(&self) -> ReadyStats {
        self.state.cache.interpreter_stats()
    }
}

#[async_trait]
impl Engine for SubprocessEngine {
    fn info(&self) -> EngineInfo {
        self.state.info.clone()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let sandbox = self.state.open_sandbox(spec, None, true).await?;
        sandbox.wait_until_ready().await?;
        Ok(Box::new(sandbox))
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        let cache = &self.state.cache;
        let language = language_for(cache.languages(), evaluation, &context.languages)?;
        let tenant = cache.has_slots().then(|| evaluation.tenant.clone());
        let engine = SingleRunEngine { engine: self.clone(), language, tenant };
        run_in_sandboxes(&engine, evaluation, context).await
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.state.restore_spawner().await
    }
}

/// The engine for one run. It returns sandboxes before they are ready, because their first command
/// waits for that anyway.
#[derive(Debug)]
struct SingleRunEngine {
    engine: SubprocessEngine,
    /// The language with possibly a ready interpreter.
    language: Option<usize>,
    /// The tenant of the run, if the engine keeps slots.
    tenant: Option<String>,
}

#[async_trait]
impl Engine for SingleRunEngine {
    fn info(&self) -> EngineInfo {
        self.engine.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let state = &self.engine.state;
        let sandbox = match self.language {
            Some(language) => state.open_interpreter(spec, language).await?,
            None => state.open_sandbox(spec, self.tenant.as_deref(), false).await?,
        };
        Ok(Box::new(sandbox))
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.engine.health().await
    }
}

#[cfg(test)]
mod tests {
    use crucible_core::{Evidence, Layer, LayerReport, LayerStatus, Signal, Verdict};
    use tokio::runtime;

    use super::*;
    use crate::linux::sys::seccomp;

    const NO_LISTENER: &str =
        "violations are not reported: the host itself runs under a listener for system calls";

    fn seccomp_report(reports: &[LayerReport]) -> &LayerReport {
        reports.iter().find(|report| report.layer == Layer::Seccomp).unwrap()
    }

    /// Runs Python source on an engine of a host with its own seccomp listener. Returns the outcome
    /// and the engine's report about seccomp.
    fn run_under_listener(source: &'static str) -> (Outcome, String) {
        // A filter belongs to one thread.
        let run = std::thread::spawn(move || {
            let mut builder = SubprocessEngine::builder();
            if !rustix::process::geteuid().is_root() {
                rustix::thread::set_no_new_privs(true).unwrap();
                for layer in
                    [Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup, Layer::DedicatedUser]
                {
                    builder = builder.waive(layer);
                }
            }
            let _listener = seccomp::listen_to_nothing().unwrap();
            let engine = builder.build().unwrap();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime
                .block_on(engine.run(&Evaluation::python(source), &RunContext::new()))
                .unwrap();
            let info = engine.info();
            (outcome, seccomp_report(info.enforcement.reports()).detail.clone())
        });
        run.join().unwrap()
    }

    #[test]
    fn refused_calls_are_not_reported_without_a_listener() {
        let source = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno())";
        let (outcome, detail) = run_under_listener(source);
        assert_eq!(detail, NO_LISTENER);
        assert_eq!(outcome.stdout.to_text(), "-1 1\n-1 1\n", "{}", outcome.stderr.to_text());
        assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 });
        assert!(!outcome.evidence().iter().any(|fact| matches!(fact, Evidence::Violation { .. })));
        assert_eq!(outcome.enforcement.status(Layer::Seccomp), LayerStatus::Enforced);
        let report = seccomp_report(outcome.enforcement.reports());
        assert!(report.detail.ends_with(NO_LISTENER), "{report:?}");
    }

    #[test]
    fn foreign_abi_call_kills_the_process_without_a_listener() {
        let source = "import ctypes; ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))";
        let (outcome, _) = run_under_listener(source);
        let signal = Signal::from_number(31).unwrap();
        assert_eq!(*outcome.verdict(), Verdict::Signaled { signal });
    }
}
