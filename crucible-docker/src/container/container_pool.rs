//! The containers of an engine: ready ones, and the limit on all of them.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, EngineInfo, EvaluationId, Limits, SandboxSpec};
use crucible_guest_client::{ChannelExt as _, ReadyPool, ReadyStats};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::container_factory::ContainerFactory;
use super::container_policy::ContainerPolicy;
use super::enforcement;
use super::guest_container::GuestContainer;
use crate::background::{self, BackgroundWorker, ReadyContainers};
use crate::config::Settings;
use crate::connection::Daemon;
use crate::image::{Image, ImageCache};

/// The time limit for a ready container to respond before its use.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The containers of an engine. When it is dropped, every container is removed, which blocks for 20
/// seconds at most.
#[derive(Debug)]
pub(crate) struct ContainerPool {
    pub(crate) info: EngineInfo,
    factory: ContainerFactory,
    ready: ReadyPool<ContainerPolicy, GuestContainer>,
    /// The permits for all containers.
    permits: Arc<Semaphore>,
    worker: BackgroundWorker,
}

impl Drop for ContainerPool {
    fn drop(&mut self) {
        drop(self.ready.clear());
        self.factory.discard_agent_volume();
        self.worker.stop();
    }
}

impl ContainerPool {
    /// Connects to the daemon, removes the containers of dead owners, and inspects a first
    /// container.
    pub(crate) async fn connect(settings: Settings) -> Result<Arc<Self>, EngineError> {
        let (daemon, version) = Daemon::connect(settings).await?;
        tracing::info!(
            address = daemon.address,
            version = version.version,
            api = version.api_version,
            "connected to a daemon"
        );
        if let Err(error) = background::reap(&daemon).await {
            tracing::warn!(%error, "cannot look for containers of dead owners");
        }
        let mut pool = Self::new(daemon)?;
        if let Err(error) = pool.inspect_first().await {
            // Dropping the pool waits for the daemon, which may be the reason for the failure.
            tokio::task::spawn_blocking(move || drop(pool));
            return Err(error);
        }
        let pool = Arc::new(pool);
        let weak = Arc::downgrade(&pool);
        pool.worker.set_pool(weak);
        Ok(pool)
    }

    fn new(daemon: Daemon) -> Result<Self, EngineError> {
        let worker = BackgroundWorker::start(daemon.clone())
            .map_err(|error| EngineError::setup("start the thread for background work", error))?;
        let settings = Arc::clone(&daemon.settings);
        let enforcement = crucible_core::Enforcement::new();
        Ok(Self {
            info: EngineInfo::new(settings.runtime.engine_name(), enforcement)
                .with_images()
                .with_deviations(settings.runtime.deviations().iter().copied()),
            factory: ContainerFactory::new(daemon, worker.tasks().clone()),
            ready: ReadyPool::new(settings.ready_containers, settings.ready_age),
            permits: Arc::new(Semaphore::new(settings.containers_max.min(Semaphore::MAX_PERMITS))),
            worker,
        })
    }

    /// Starts a first container, and requires its layers from every later one.
    async fn inspect_first(&mut self) -> Result<(), EngineError> {
        let settings = Arc::clone(self.settings());
        let name = settings.image.as_ref().or_else(|| settings.images.values().next());
        let name = name.map_or("", String::as_str);
        let image = self.factory.images.get(&self.factory.daemon, name).await?;
        let policy = ContainerPolicy::new(image.name, &Limits::new());
        let permit = self.permit().await?;
        let container = self.factory.start(policy, None, permit).await?;
        let inspected = container.inspect().await?;
        let enforcement = enforcement::of_first(&settings, &container, &inspected)?;
        let layers = container.greeting().map(|greeting| greeting.layers).unwrap_or_default();
        self.info.enforcement = enforcement.clone();
        self.factory.require(enforcement, layers);
        Ok(())
    }

    /// Returns the settings of the engine.
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.factory.daemon.settings
    }

    /// Returns the statistics of the ready containers.
    pub(crate) fn stats(&self) -> ReadyStats {
        self.ready.stats()
    }

    /// Checks that the daemon responds.
    pub(crate) async fn health(&self) -> Result<(), EngineError> {
        self.factory.daemon.version().await.map(drop)
    }

    /// Returns the image for a sandbox.
    pub(crate) async fn image(&self, spec: &SandboxSpec) -> Result<Image, EngineError> {
        let name = ImageCache::name_for(&self.factory.daemon, spec)?;
        self.factory.images.get(&self.factory.daemon, &name).await
    }

    /// Returns a ready container, or starts one.
    pub(crate) async fn acquire(
        &self,
        image: String,
        limits: &Limits,
        evaluation: Option<EvaluationId>,
    ) -> Result<GuestContainer, EngineError> {
        let policy = ContainerPolicy::new(image, limits);
        while let Some(container) = self.ready.take(&policy) {
            self.worker.tasks().refill();
            // The container may have been removed, or the daemon restarted, while it waited.
            let alive = tokio::time::timeout(ALIVE_TIMEOUT, container.attachment.measure()).await;
            if matches!(alive, Ok(Ok(_))) {
                return Ok(container);
            }
            self.ready.record_failed();
        }
        let permit = self.permit().await?;
        let container = self.factory.start(policy, evaluation, permit).await?;
        self.worker.tasks().refill();
        Ok(container)
    }

    /// Returns the permit for one container. Waits while the maximum number of containers exists.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        // A ready container makes room.
        drop(self.ready.evict());
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| EngineError::Closed { what: "the engine".to_owned() })
    }
}

impl ReadyContainers for ContainerPool {
    fn discard_expired(&self) {
        drop(self.ready.take_expired());
    }

    fn refill(self: Arc<Self>, starts: &mut JoinSet<()>) {
        for policy in self.ready.reserve_missing() {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                self.ready.release(&policy);
                continue;
            };
            let pool = Arc::clone(&self);
            starts.spawn(async move {
                let started = pool.factory.start(policy.clone(), None, permit).await;
                if let Err(error) = &started {
                    tracing::warn!(%error, "cannot start a container ahead of time");
                }
                pool.ready.complete(&policy, started.ok());
            });
        }
    }
}
