//! A guard that removes a container.

use crucible_core::EngineError;
use tokio::sync::OwnedSemaphorePermit;

use crate::background::BackgroundTasks;
use crate::connection::Daemon;

/// Owns a container by its name, together with the permit for it. When dropped, the container is
/// removed in the background. The permit is released after the removal.
#[derive(Debug)]
pub(super) struct ContainerGuard {
    pub(super) name: String,
    pub(super) daemon: Daemon,
    tasks: BackgroundTasks,
    permit: Option<OwnedSemaphorePermit>,
}

impl ContainerGuard {
    /// Creates a guard before the container is created, so that it is removed whatever happens to
    /// the call.
    pub(super) fn new(
        name: String,
        daemon: Daemon,
        tasks: BackgroundTasks,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { name, daemon, tasks, permit }
    }

    /// Takes the permit, for another attempt under another name.
    pub(super) fn take_permit(&mut self) -> Option<OwnedSemaphorePermit> {
        self.permit.take()
    }

    /// Kills the processes of the container in the background.
    pub(super) fn kill(&self) {
        self.tasks.kill(self.name.clone());
    }

    /// Removes the container now.
    pub(super) async fn remove(&self) -> Result<(), EngineError> {
        self.daemon.remove(&self.name).await
    }
}

impl Drop for ContainerGuard {
    fn drop(&mut self) {
        self.tasks.remove(std::mem::take(&mut self.name), self.permit.take());
    }
}
