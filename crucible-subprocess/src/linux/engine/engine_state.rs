//! The state that all handles of an engine share.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, EngineInfo, InvalidInput, Layer, Limits, Network, SandboxSpec};
use crucible_guest::protocol::SandboxPlan;
use crucible_guest_client::errors::{lost, setup};
use tokio::time::Instant;

use crate::ENGINE_NAME;
use crate::linux::channel::socket_pair;
use crate::linux::pool::{ReadyCache, ReadyInterpreter, ReadySandbox};
use crate::linux::resources::{Reservation, SandboxSize};
use crate::linux::sandbox::{ReservationGuard, SandboxContext, SubprocessSandbox};
use crate::linux::spawner::SpawnError;

/// The longest time that the spawner may be busy. After it the engine refuses a sandbox.
const SPAWNER_TIMEOUT: Duration = Duration::from_secs(10);

/// The state that all handles of an engine share.
#[derive(Debug)]
pub(crate) struct EngineState {
    pub(crate) info: EngineInfo,
    pub(crate) context: Arc<SandboxContext>,
    pub(crate) cache: Arc<ReadyCache>,
}

impl EngineState {
    /// Opens a sandbox and sends its input files, without waiting until it is ready.
    ///
    /// `tenant` is set for a single run, which may use a slot of this tenant. With `ready`, the
    /// guest reports when the sandbox is ready.
    pub(crate) async fn open_sandbox(
        &self,
        spec: SandboxSpec,
        tenant: Option<&str>,
        ready: bool,
    ) -> Result<SubprocessSandbox, EngineError> {
        self.admit(&spec)?;
        let context = &self.context;
        let size = SandboxSize::from(&spec.limits);
        let cached = if spec.network == Network::None {
            let in_slot = tenant.and_then(|tenant| self.cache.take_slot(context, size, tenant));
            in_slot.or_else(|| self.cache.take_sandbox(context, size))
        } else {
            None
        };
        let (guard, channel) = match cached {
            Some(ReadySandbox { reservation, channel }) => {
                (ReservationGuard::new(context, reservation), channel)
            }
            None => self.request_sandbox(size, &spec.network, ready).await?,
        };
        let mut sandbox = SubprocessSandbox::adopt(context, guard, channel, spec.limits)?;
        if let Network::Allow(endpoints) = &spec.network {
            sandbox.start_proxy(endpoints).await?;
        }
        sandbox.put_inputs(&spec.files).await?;
        Ok(sandbox)
    }

    /// Opens a sandbox with an interpreter that waits for its program, or a sandbox without one if
    /// none is ready.
    pub(crate) async fn open_interpreter(
        &self,
        spec: SandboxSpec,
        language: usize,
    ) -> Result<SubprocessSandbox, EngineError> {
        self.admit(&spec)?;
        let context = &self.context;
        let Some(ready_language) = self.cache.languages().get(language) else {
            return Err(EngineError::Closed { what: "the language".to_owned() });
        };
        while let Some(ReadyInterpreter { sandbox, streams }) =
            self.cache.take_interpreter(context, language, &spec.limits)?
        {
            let ReadySandbox { reservation, channel } = sandbox;
            let guard = ReservationGuard::new(context, reservation);
            let sandbox = SubprocessSandbox::adopt(context, guard, channel, spec.limits.clone())?;
            let ready_language = Arc::clone(ready_language);
            match sandbox.adopt_interpreter(ready_language, streams, &spec.files).await {
                Ok(true) => return Ok(sandbox),
                // The interpreter has ended, and has run no program.
                Ok(false) | Err(EngineError::Lost { .. }) => {}
                Err(error) => return Err(error),
            }
            self.cache.record_failed_interpreter();
        }
        self.open_sandbox(spec, None, false).await
    }

    /// Checks that the engine can open a sandbox as requested.
    fn admit(&self, spec: &SandboxSpec) -> Result<(), EngineError> {
        self.info.admit(&spec.isolation, &spec.network)?;
        self.info.admit_image(spec.image.as_deref())?;
        InvalidInput::check(spec.network.problems("network"))?;
        self.check_limits(&spec.limits)
    }

    /// Checks that the host can enforce the limits.
    fn check_limits(&self, limits: &Limits) -> Result<(), EngineError> {
        InvalidInput::check(limits.problems("limits"))?;
        let allocator = &self.context.allocator;
        let open_files_max = allocator.host().open_files_max;
        if !allocator.is_waived(Layer::Rlimits) && u64::from(limits.open_files) > open_files_max {
            let what = format!(
                "{} open files: this host may have {open_files_max} (raise its hard limit, `ulimit \
                 -Hn`)",
                limits.open_files
            );
            return Err(EngineError::Unsupported { engine: ENGINE_NAME.to_owned(), what });
        }
        Ok(())
    }

    /// Requests a sandbox from the spawner. Returns its reservation and the host's end of its
    /// channel.
    async fn request_sandbox(
        &self,
        size: SandboxSize,
        network: &Network,
        ready: bool,
    ) -> Result<(ReservationGuard, OwnedFd), EngineError> {
        let reservation = self.context.allocator.reserve(size, network)?;
        let guard = ReservationGuard::new(&self.context, reservation);
        let (ours, theirs) = socket_pair()?;
        let Some(reservation) = guard.reservation() else {
            return Err(lost("opening a sandbox", false));
        };
        let plan = self.context.allocator.plan(reservation, size, network, ready);
        self.spawn(&plan, reservation, theirs.as_fd()).await?;
        Ok((guard, ours))
    }

    /// Sends a plan to the spawner. Waits while the spawner is busy, and restarts it if it has
    /// ended.
    async fn spawn(
        &self,
        plan: &SandboxPlan,
        reservation: &Reservation,
        channel: BorrowedFd<'_>,
    ) -> Result<(), EngineError> {
        let deadline = Instant::now() + SPAWNER_TIMEOUT;
        let allocator = &self.context.allocator;
        let mut has_restarted = false;
        loop {
            match allocator.spawn(plan, reservation, channel) {
                Ok(()) => return Ok(()),
                Err(SpawnError::Busy) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(SpawnError::Gone) if !has_restarted => {
                    has_restarted = true;
                    let (allocator, plan) = (Arc::clone(allocator), *plan);
                    restart(move || allocator.spawner_for(&plan).restart()).await?;
                }
                Err(SpawnError::Busy | SpawnError::Gone) => {
                    return Err(EngineError::Unavailable {
                        what: "the spawner".to_owned(),
                        source: None,
                    });
                }
                Err(SpawnError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Restarts the spawner if it has ended.
    pub(super) async fn restore_spawner(&self) -> Result<(), EngineError> {
        let allocator = &self.context.allocator;
        if allocator.spawner().is_alive() {
            return Ok(());
        }
        let allocator = Arc::clone(allocator);
        restart(move || allocator.spawner().restart()).await
    }
}

/// Runs a restart of a spawner on a thread that may block.
async fn restart(
    restart: impl FnOnce() -> Result<(), EngineError> + Send + 'static,
) -> Result<(), EngineError> {
    let restarted = tokio::task::spawn_blocking(restart).await;
    restarted.map_err(|error| setup("start the spawner again", std::io::Error::other(error)))?
}
