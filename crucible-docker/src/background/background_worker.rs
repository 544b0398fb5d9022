//! The thread for background work.
//!
//! It has a runtime of its own: a container outlives the runtime in which it was used, and a host
//! may drop a sandbox outside of any runtime.

use std::fmt;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::background_tasks::{BackgroundTask, BackgroundTasks};
use super::reaper;
use crate::connection::Daemon;

/// The initial and the longest delay before the worker repeats a failed removal.
const RETRY_DELAY: Duration = Duration::from_millis(200);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// The time limit for the last removals when the engine ends. Another engine removes the remaining
/// containers.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// The interval between checks of the pool of ready containers.
const TICK: Duration = Duration::from_secs(1);

/// A pool of containers that the worker keeps filled.
pub(crate) trait ReadyContainers: fmt::Debug + Send + Sync {
    /// Discards the containers that have waited too long.
    fn discard_expired(&self);

    /// Starts the missing containers as tasks of `starts`.
    fn refill(self: Arc<Self>, starts: &mut JoinSet<()>);
}

/// The thread for background work.
#[derive(Debug)]
pub(crate) struct BackgroundWorker {
    tasks: BackgroundTasks,
    pool: Arc<OnceLock<Weak<dyn ReadyContainers>>>,
    thread: thread::ThreadId,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

impl BackgroundWorker {
    /// Starts the thread.
    pub(crate) fn start(daemon: Daemon) -> std::io::Result<Self> {
        let (tasks, queue) = BackgroundTasks::new();
        let pool = Arc::new(OnceLock::new());
        let worker_loop = WorkerLoop::new(daemon, Arc::clone(&pool));
        let (end, ended) = std_mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle =
            thread::Builder::new().name("crucible-docker".to_owned()).spawn(move || {
                runtime.block_on(worker_loop.run(queue));
                drop(runtime);
                // The receiver may have given up.
                let _sent = end.send(());
            })?;
        Ok(Self { tasks, pool, thread: handle.thread().id(), ended: Mutex::new(ended) })
    }

    /// Sets the pool that the worker keeps filled. The pool owns the worker, so it does not exist
    /// at the worker's start.
    pub(crate) fn set_pool(&self, pool: Weak<dyn ReadyContainers>) {
        let _only_once = self.pool.set(pool);
    }

    /// Returns the queue of the worker.
    pub(crate) fn tasks(&self) -> &BackgroundTasks {
        &self.tasks
    }

    /// Completes the queued removals and ends the worker. Blocks for [`STOP_TIMEOUT`] at most.
    pub(crate) fn stop(&self) {
        self.tasks.stop();
        // The engine's last handle may be dropped on the worker's own thread, which ends by itself.
        if thread::current().id() != self.thread {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ended = ended.recv_timeout(STOP_TIMEOUT + Duration::from_secs(1));
        }
    }
}

/// The state of the worker's thread.
struct WorkerLoop {
    daemon: Daemon,
    pool: Arc<OnceLock<Weak<dyn ReadyContainers>>>,
    removals: JoinSet<()>,
    starts: JoinSet<()>,
    stop: CancellationToken,
}

impl WorkerLoop {
    fn new(daemon: Daemon, pool: Arc<OnceLock<Weak<dyn ReadyContainers>>>) -> Self {
        let (removals, starts) = (JoinSet::new(), JoinSet::new());
        Self { daemon, pool, removals, starts, stop: CancellationToken::new() }
    }

    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<BackgroundTask>) {
        let (mut tick, mut reap) = (interval(TICK), interval(self.daemon.settings.reap_every));
        loop {
            tokio::select! {
                task = queue.recv() => match task {
                    Some(BackgroundTask::Remove(name, permit)) => self.remove(name, permit),
                    Some(BackgroundTask::Kill(name)) => self.kill(name),
                    Some(BackgroundTask::Refill) => self.refill(),
                    Some(BackgroundTask::Stop) | None => break,
                },
                Some(_) = self.removals.join_next() => {}
                Some(_) = self.starts.join_next() => {}
                _ = tick.tick() => {
                    if let Some(pool) = self.pool() {
                        pool.discard_expired();
                    }
                    self.refill();
                }
                _ = reap.tick() => self.reap(),
            }
        }
        self.starts.shutdown().await;
        // The queue may contain removals, also those of containers that were being started.
        while let Ok(task) = queue.try_recv() {
            if let BackgroundTask::Remove(name, permit) = task {
                self.remove(name, permit);
            }
        }
        let all = async { while self.removals.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("cannot remove containers; the next engine removes them");
        }
        self.stop.cancel();
    }

    fn pool(&self) -> Option<Arc<dyn ReadyContainers>> {
        self.pool.get()?.upgrade()
    }

    fn refill(&mut self) {
        if let Some(pool) = self.pool() {
            pool.refill(&mut self.starts);
        }
    }

    fn remove(&mut self, name: String, permit: Option<OwnedSemaphorePermit>) {
        self.removals.spawn(remove_with_retries(
            self.daemon.clone(),
            name,
            permit,
            self.stop.clone(),
        ));
    }

    fn kill(&mut self, name: String) {
        let daemon = self.daemon.clone();
        self.removals.spawn(async move {
            if let Err(error) = daemon.kill(&name).await {
                tracing::warn!(container = name, %error, "cannot kill a container");
            }
        });
    }

    fn reap(&mut self) {
        let daemon = self.daemon.clone();
        self.removals.spawn(async move {
            if let Err(error) = reaper::reap(&daemon).await {
                tracing::debug!(%error, "cannot look for containers of dead owners");
            }
        });
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Removes a container, and repeats failed calls until it is gone.
async fn remove_with_retries(
    daemon: Daemon,
    name: String,
    permit: Option<OwnedSemaphorePermit>,
    stop: CancellationToken,
) {
    let mut delay = RETRY_DELAY;
    while let Err(error) = daemon.remove(&name).await {
        tracing::debug!(container = name, %error, "cannot remove a container yet");
        tokio::select! {
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(RETRY_DELAY_MAX),
            () = stop.cancelled() => break,
        }
    }
    drop(permit);
}
