//! The engine.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use crucible_core::{
    Engine, EngineError, EngineInfo, Evaluation, EvaluationId, Limits, Outcome, RunContext,
    Sandbox, SandboxSpec, run_in_sandboxes,
};
use crucible_guest::protocol::Layers;
use crucible_guest_client::{
    Channel as _, ChannelExt as _, GuestSandboxExt as _, ReadyPool, ReadyStats,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::carrier;
use crate::config::{DockerBuilder, Settings};
use crate::container::Container;
use crate::daemon::Daemon;
use crate::enforcement;
use crate::image::{Image, Images};
use crate::keeper::{Keeper, KeeperThread};
use crate::owner::Owner;
use crate::policy::Policy;
use crate::reaper;
use crate::sandbox::DockerSandbox;

/// User ids of targets, where a container's ids are the host's: far from those of people and services.
pub(crate) const TARGET_IDS: Range<u32> = 20_000..0x7fff_0000;
/// Where they are mapped there are 65,536, as a rule (subuid(5)).
const MAPPED_IDS: Range<u32> = 20_000..60_000;
/// How long a warm container may take to show that it lives.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(2);

/// The engine of containers. A handle; clones share one engine.
///
/// When the last handle and the last sandbox are dropped, every container of the engine is removed, which blocks until the daemon has
/// done so (20 seconds at most); [`close`](Self::close) does the same without blocking.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) daemon: Daemon,
    pub(crate) info: EngineInfo,
    pub(crate) owner: Owner,
    pub(crate) images: Images,
    pub(crate) pool: ReadyPool<Policy, Container>,
    /// As many containers as there may be.
    pub(crate) slots: Arc<Semaphore>,
    /// How many CPUs a command can use at once, as far as this side knows.
    pub(crate) cpus: u32,
    carrier: Mutex<Option<String>>,
    ids: Range<u32>,
    next_id: AtomicU32,
    next_name: AtomicU64,
    keeper: Keeper,
    thread: KeeperThread,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.pool.clear());
        if let Some(carrier) = self.carrier.get_mut().take() {
            self.keeper.remove(carrier, None);
        }
        self.keeper.stop(&self.thread);
    }
}

impl DockerEngine {
    /// How an engine is made.
    #[must_use]
    pub fn builder() -> DockerBuilder {
        DockerBuilder::new()
    }

    pub(crate) async fn connect(settings: Settings) -> Result<Self, EngineError> {
        let (daemon, version) = Daemon::connect(settings).await?;
        tracing::info!(
            place = daemon.place,
            version = version.version,
            api = version.api_version,
            "connected to a daemon"
        );
        if let Err(error) = reaper::reap(&daemon).await {
            tracing::warn!(%error, "what dead owners left could not be looked for");
        }
        let (keeper, thread, introduce) = Keeper::start(daemon.clone())
            .map_err(|error| EngineError::setup("start the thread that keeps containers", error))?;
        let settings = Arc::clone(&daemon.settings);
        let mut inner = Inner {
            info: EngineInfo::new(
                settings.runtime.engine_name(),
                crucible_core::Enforcement::new(),
            )
            .with_images()
            .with_deviations(settings.runtime.deviations().iter().copied()),
            owner: Owner::new(),
            images: Images::default(),
            pool: ReadyPool::new(settings.ready_containers, settings.ready_age),
            slots: Arc::new(Semaphore::new(settings.containers_max.min(Semaphore::MAX_PERMITS))),
            cpus: cpus(),
            carrier: Mutex::new(None),
            ids: MAPPED_IDS,
            next_id: AtomicU32::new(MAPPED_IDS.start),
            next_name: AtomicU64::new(0),
            keeper,
            thread,
            daemon,
        };
        // Nothing is insisted on yet: what the first container has, every other has to have.
        let first = Arc::new(inner);
        let seen = match look_at_first(&first).await {
            Ok(seen) => seen,
            Err(error) => {
                // Its end waits for the daemon, which may be what has failed.
                tokio::task::spawn_blocking(move || drop(first));
                return Err(error);
            }
        };
        inner = Arc::try_unwrap(first)
            .map_err(|_| crucible_guest_client::errors::lost("trying a container out", false))?;
        let (enforcement, layers) = seen;
        inner.info.enforcement = enforcement;
        if !layers.has(Layers::USER_NAMESPACE) {
            inner.ids = TARGET_IDS;
        }
        let seed = u32::try_from(uuid::Uuid::now_v7().as_u128() & 0xffff_ffff).unwrap_or_default();
        inner.next_id = AtomicU32::new(seed);
        let inner = Arc::new(inner);
        // The thread lives as long as the engine.
        let _introduced = introduce.send(Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// How the pool of warm containers has fared.
    #[must_use]
    pub fn ready_stats(&self) -> ReadyStats {
        self.inner.pool.stats()
    }

    /// Gives this handle up without blocking: if it is the last one, waits until every container of the engine is removed.
    ///
    /// # Cancel safety
    /// Dropping the future lets the removal go on in the background.
    pub async fn close(self) {
        // Whether it blocked or panicked, it is over.
        let _closed = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Makes a container and says what it has.
async fn look_at_first(
    inner: &Arc<Inner>,
) -> Result<(crucible_core::Enforcement, Layers), EngineError> {
    let settings = &inner.daemon.settings;
    let named = settings.image.as_ref().or_else(|| settings.images.values().next());
    let image = inner.images.get(&inner.daemon, named.map_or("", String::as_str)).await?;
    let policy = Policy::new(image.name, &Limits::new());
    let permit = inner.slot().await?;
    let container = Container::start(inner, policy, None, permit).await?;
    let seen = inner.daemon.inspect(&container.tenure.name).await?;
    let layers = container
        .attachment
        .router()
        .greeting()
        .map(|greeting| greeting.layers)
        .unwrap_or_default();
    enforcement::of_first(settings, &container, &seen).map(|enforcement| (enforcement, layers))
}

/// As many as this machine has: the daemon's is another one only if it is far away. More than there are makes looks more frequent.
fn cpus() -> u32 {
    let here = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(here).unwrap_or(u32::MAX).max(8)
}

impl Inner {
    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    pub(crate) fn next_name(&self) -> String {
        format!("crucible-{}-{}", self.owner.id(), self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    /// A user id that no other container of this engine has, and those of others hardly.
    pub(crate) fn next_target_id(&self) -> u32 {
        let count = self.ids.end - self.ids.start;
        self.ids.start + self.next_id.fetch_add(1, Ordering::Relaxed) % count
    }

    /// The container that carries the guest; it is made if there is none.
    pub(crate) async fn carrier(&self, image: &str) -> Result<String, EngineError> {
        let mut carrier = self.carrier.lock().await;
        if let Some(name) = &*carrier {
            return Ok(name.clone());
        }
        let name = format!("{}-guest", self.next_name());
        if let Err(error) = carrier::make(&self.daemon, &self.owner, &name, image).await {
            self.keeper.remove(name, None);
            return Err(error);
        }
        *carrier = Some(name.clone());
        Ok(name)
    }

    /// It is not there any more.
    pub(crate) async fn forget_carrier(&self, name: &str) {
        let mut carrier = self.carrier.lock().await;
        if carrier.as_deref() == Some(name) {
            *carrier = None;
        }
    }

    /// The right to one container. Waits while there are as many as there may be.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        // One that only waits gives way.
        drop(self.pool.evict());
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        permit.map_err(|_| EngineError::Closed { what: "the engine".to_owned() })
    }

    pub(crate) async fn image(&self, spec: &SandboxSpec) -> Result<Image, EngineError> {
        let name = Images::name_for(&self.daemon, spec)?;
        self.images.get(&self.daemon, &name).await
    }

    /// A container: one that is ready, or a new one.
    pub(crate) async fn container(
        self: &Arc<Self>,
        image: String,
        limits: &Limits,
        evaluation: Option<EvaluationId>,
    ) -> Result<Container, EngineError> {
        let policy = Policy::new(image, limits);
        while let Some(container) = self.pool.take(&policy) {
            self.keeper.refill();
            // It may have been removed, or its daemon started again, while nobody looked.
            let alive = tokio::time::timeout(ALIVE, container.attachment.measure()).await;
            if matches!(alive, Ok(Ok(_))) {
                return Ok(container);
            }
            self.pool.record_failed();
        }
        let permit = self.slot().await?;
        let container = Container::start(self, policy, evaluation, permit).await?;
        self.keeper.refill();
        Ok(container)
    }

    /// What it means that a container could not be started.
    pub(crate) fn explain_start(&self, policy: &Policy, error: EngineError) -> EngineError {
        let text = crucible_core::error_chain(&error);
        let unsupported =
            |what: String| EngineError::Unsupported { engine: self.info.name.clone(), what };
        if text.contains("exec format error") {
            return unsupported(format!(
                "image `{}`, which is for another architecture",
                policy.image
            ));
        }
        if text.contains("could not select device driver") {
            return unsupported(
                "the devices that were asked for: the daemon has no driver for them".to_owned(),
            );
        }
        if text.contains("unknown or invalid runtime name")
            || text.contains("Unknown runtime specified")
        {
            return unsupported(format!(
                "the runtime `{}`, which the daemon does not know: add it to `runtimes` in its configuration",
                self.daemon.settings.runtime
            ));
        }
        error
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn info(&self) -> EngineInfo {
        self.inner.info.clone()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        let sandbox = DockerSandbox::begin(&self.inner, spec).await?;
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
        self.inner.daemon.version().await.map(drop)
    }
}

/// The engine as a run uses it: a sandbox is handed out before its files are in place, since its first command waits for them.
#[derive(Debug)]
struct RunEngine(DockerEngine);

#[async_trait]
impl Engine for RunEngine {
    fn info(&self) -> EngineInfo {
        self.0.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Ok(Box::new(DockerSandbox::begin(&self.0.inner, spec).await?))
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.0.health().await
    }
}
