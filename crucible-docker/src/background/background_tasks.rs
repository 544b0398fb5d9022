//! The queue of the background worker.

use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A task of the background worker.
pub(super) enum BackgroundTask {
    /// Removes a container, and returns its permit once it is gone.
    Remove(String, Option<OwnedSemaphorePermit>),
    /// Kills the processes of a container.
    Kill(String),
    /// Starts the missing ready containers.
    Refill,
    /// Ends the worker after the remaining removals.
    Stop,
}

/// The sending side of the background worker's queue. Cheap to clone.
///
/// The queue is unbounded: it contains at most a few tasks per container, and `containers_max`
/// limits those.
#[derive(Debug, Clone)]
pub(crate) struct BackgroundTasks(mpsc::UnboundedSender<BackgroundTask>);

impl BackgroundTasks {
    /// Creates the queue.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<BackgroundTask>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Removes a container, and returns its permit once it is gone.
    pub(crate) fn remove(&self, name: String, permit: Option<OwnedSemaphorePermit>) {
        if !name.is_empty() {
            self.send(BackgroundTask::Remove(name, permit));
        }
    }

    /// Kills the processes of a container.
    pub(crate) fn kill(&self, name: String) {
        self.send(BackgroundTask::Kill(name));
    }

    /// Starts the missing ready containers.
    pub(crate) fn refill(&self) {
        self.send(BackgroundTask::Refill);
    }

    /// Ends the worker after the remaining removals.
    pub(super) fn stop(&self) {
        self.send(BackgroundTask::Stop);
    }

    fn send(&self, task: BackgroundTask) {
        // The worker ends after its engine. The owner of the container is dead then, and another
        // engine removes it.
        let _sent = self.0.send(task);
    }
}
