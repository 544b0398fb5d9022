//! Creation and start of containers.

use std::sync::atomic::{AtomicU64, Ordering};

use crucible_core::{Enforcement, EngineError, EvaluationId, error_chain};
use crucible_guest::protocol::Layers;
use crucible_guest_client::errors::lost;
use crucible_guest_client::{ChannelExt as _, SETUP_TIMEOUT};
use tokio::sync::OwnedSemaphorePermit;

use super::agent_volume::AgentVolume;
use super::container_guard::ContainerGuard;
use super::container_policy::ContainerPolicy;
use super::enforcement;
use super::guest_container::GuestContainer;
use super::target_ids::TargetIds;
use crate::background::BackgroundTasks;
use crate::connection::{Attachment, Daemon, call_failed, status};
use crate::image::ImageCache;
use crate::ownership::{ContainerRole, Owner};

/// The number of attempts to find a name that no other container has.
const NAMES_MAX: u32 = 3;

/// Creates and starts the containers of an engine.
#[derive(Debug)]
pub(super) struct ContainerFactory {
    pub(super) daemon: Daemon,
    pub(super) images: ImageCache,
    /// The layers that every container must have. Empty until the first container was inspected.
    required: Enforcement,
    owner: Owner,
    agent_volume: AgentVolume,
    target_ids: TargetIds,
    next_name: AtomicU64,
    tasks: BackgroundTasks,
}

impl ContainerFactory {
    /// Creates a factory that requires no layers yet.
    pub(super) fn new(daemon: Daemon, tasks: BackgroundTasks) -> Self {
        Self {
            daemon,
            images: ImageCache::default(),
            required: Enforcement::new(),
            owner: Owner::new(),
            agent_volume: AgentVolume::default(),
            target_ids: TargetIds::new(true),
            next_name: AtomicU64::new(0),
            tasks,
        }
    }

    /// Requires the layers of the first container from every later one.
    pub(super) fn require(&mut self, enforcement: Enforcement, layers: Layers) {
        self.required = enforcement;
        self.target_ids = TargetIds::new(layers.has(Layers::USER_NAMESPACE));
    }

    /// Removes the agent volume in the background.
    pub(super) fn discard_agent_volume(&mut self) {
        if let Some(name) = self.agent_volume.take() {
            self.tasks.remove(name, None);
        }
    }

    /// Creates and starts a container, waits for the greeting of its guest, and verifies every
    /// layer.
    ///
    /// # Cancel safety
    /// Dropping the future removes the container in the background.
    pub(super) async fn start(
        &self,
        policy: ContainerPolicy,
        evaluation: Option<EvaluationId>,
        permit: OwnedSemaphorePermit,
    ) -> Result<GuestContainer, EngineError> {
        let target_id = self.target_ids.next();
        let guard = self.create(&policy, target_id, evaluation, permit).await?;
        // Attached before the start, so that no frame is lost.
        let attachment = Attachment::new(self.daemon.attach(&guard.name).await?);
        let (started, inspected) =
            tokio::join!(self.daemon.start(&guard.name), self.daemon.inspect(&guard.name));
        started.map_err(|error| self.explain_start(&policy, error))?;
        let greeted = tokio::time::timeout(SETUP_TIMEOUT, attachment.ready()).await;
        let container = GuestContainer { attachment, policy, target_id, guard };
        match greeted {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => {
                return Err(container.diagnose_loss(reason.into_error(false)).await);
            }
            Err(_) => return Err(lost("starting a container", false)),
        }
        enforcement::verify(&self.daemon.settings, &self.required, &container, &inspected?)?;
        Ok(container)
    }

    /// Creates a container under an unused name.
    async fn create(
        &self,
        policy: &ContainerPolicy,
        target_id: u32,
        evaluation: Option<EvaluationId>,
        permit: OwnedSemaphorePermit,
    ) -> Result<ContainerGuard, EngineError> {
        let mut permit = Some(permit);
        for attempt in 1.. {
            let agent_volume = self.agent_volume(&policy.image).await?;
            let (daemon, tasks) = (self.daemon.clone(), self.tasks.clone());
            let mut guard = ContainerGuard::new(self.next_name(), daemon, tasks, permit.take());
            let labels = self.owner.labels(ContainerRole::Sandbox, evaluation);
            let body = policy.body(&self.daemon.settings, &agent_volume, target_id, labels);
            let error = match self.daemon.create(&guard.name, body).await {
                Ok(()) => return Ok(guard),
                Err(error) => error,
            };
            let text = error.to_string();
            let can_retry = match status(&error) {
                Some(400 | 404) if text.contains(&agent_volume) => {
                    // Another program removed the agent volume. The next attempt creates a new one.
                    self.agent_volume.invalidate(&agent_volume).await;
                    true
                }
                // Another engine has the same id, or the daemon received the call twice.
                Some(409) => text.contains("already in use"),
                _ => false,
            };
            if !can_retry || attempt >= NAMES_MAX {
                return Err(self.explain_create(policy, error));
            }
            permit = guard.take_permit();
        }
        Err(lost("making a container", false))
    }

    /// Returns the container of the agent volume. Creates it if there is none.
    async fn agent_volume(&self, image: &str) -> Result<String, EngineError> {
        let new_name = || format!("{}-guest", self.next_name());
        let discard = |name| self.tasks.remove(name, None);
        self.agent_volume.get_or_create(&self.daemon, &self.owner, image, new_name, discard).await
    }

    fn next_name(&self) -> String {
        format!("crucible-{}-{}", self.owner.id(), self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    fn unsupported(&self, what: String) -> EngineError {
        let engine = self.daemon.settings.runtime.engine_name().to_owned();
        EngineError::Unsupported { engine, what }
    }

    /// Returns the error of a container that could not be created.
    fn explain_create(
        &self,
        policy: &ContainerPolicy,
        error: bollard::errors::Error,
    ) -> EngineError {
        if status(&error) == Some(404) && error.to_string().contains("No such image") {
            self.images.evict(&policy.image);
            let what = format!("image `{}`, which the daemon no longer has", policy.image);
            return self.unsupported(what);
        }
        call_failed("create a container", error)
    }

    /// Returns the error of a container that could not be started.
    fn explain_start(&self, policy: &ContainerPolicy, error: EngineError) -> EngineError {
        let text = error_chain(&error);
        if text.contains("exec format error") {
            let image = &policy.image;
            return self.unsupported(format!("image `{image}`, which is for another architecture"));
        }
        if text.contains("could not select device driver") {
            let what = "the requested devices: the daemon has no driver for them";
            return self.unsupported(what.to_owned());
        }
        if text.contains("unknown or invalid runtime name")
            || text.contains("Unknown runtime specified")
        {
            return self.unsupported(format!(
                "the runtime `{}`, which the daemon does not know\n\
                 fix: add it to `runtimes` in the daemon's configuration",
                self.daemon.settings.runtime
            ));
        }
        error
    }
}
