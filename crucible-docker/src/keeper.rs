//! What happens in the background: containers are removed, warm ones started, and what dead owners left is looked for.
//!
//! A thread with a runtime of its own: a container outlives the runtime in which it was used, and a host may have none when it
//! drops a sandbox.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::container::Container;
use crate::daemon::Daemon;
use crate::engine::Inner;
use crate::reaper;

/// How long a removal that failed waits for the next try, at first and at most.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How long the last removals may take when the engine ends. What is left then is removed by the next engine, or a neighbour.
const LAST: Duration = Duration::from_secs(20);
/// How often the pool of warm containers is looked after.
const TICK: Duration = Duration::from_secs(1);

enum Task {
    Remove(String, Option<OwnedSemaphorePermit>),
    Kill(String),
    Refill,
    Stop,
}

/// The way to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keeper(mpsc::UnboundedSender<Task>);

/// The thread itself.
#[derive(Debug)]
pub(crate) struct KeeperThread {
    thread: thread::ThreadId,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

impl Keeper {
    /// Starts the thread, which looks after the engine that `engine` comes to be.
    pub(crate) fn start(
        daemon: Daemon,
    ) -> std::io::Result<(Self, KeeperThread, mpsc::UnboundedSender<Weak<Inner>>)> {
        let (sender, tasks) = mpsc::unbounded_channel();
        let (introduce, engines) = mpsc::unbounded_channel();
        let (end, ended) = std_mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle =
            thread::Builder::new().name("crucible-docker".to_owned()).spawn(move || {
                runtime.block_on(run(&daemon, tasks, engines));
                drop(runtime);
                // Who waits for it may have given up.
                let _told = end.send(());
            })?;
        let thread = KeeperThread { thread: handle.thread().id(), ended: Mutex::new(ended) };
        Ok((Self(sender), thread, introduce))
    }

    /// Removes a container, and gives the right to it back once it is gone.
    pub(crate) fn remove(&self, name: String, permit: Option<OwnedSemaphorePermit>) {
        if !name.is_empty() {
            self.tell(Task::Remove(name, permit));
        }
    }

    /// Ends what runs in a container.
    pub(crate) fn kill(&self, name: String) {
        self.tell(Task::Kill(name));
    }

    /// Warm containers have been used.
    pub(crate) fn refill(&self) {
        self.tell(Task::Refill);
    }

    fn tell(&self, task: Task) {
        // The thread ends after the engine: then whatever it is about belongs to a dead owner.
        let _told = self.0.send(task);
    }

    /// Does what was asked for, and ends. Blocks for as long, within bounds.
    pub(crate) fn stop(&self, thread: &KeeperThread) {
        self.tell(Task::Stop);
        if thread::current().id() != thread.thread {
            // It ends by itself in any case.
            let ended = thread.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ended = ended.recv_timeout(LAST + Duration::from_secs(1));
        }
    }
}

async fn run(
    daemon: &Daemon,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    mut engines: mpsc::UnboundedReceiver<Weak<Inner>>,
) {
    let (mut removals, mut starts) = (JoinSet::new(), JoinSet::new());
    let mut engine = Weak::new();
    let stop = CancellationToken::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reap = tokio::time::interval(daemon.settings.reap_every);
    reap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(introduced) = engines.recv() => engine = introduced,
            task = tasks.recv() => match task {
                Some(Task::Remove(name, permit)) => {
                    removals.spawn(remove(daemon.clone(), name, permit, stop.clone()));
                }
                Some(Task::Kill(name)) => {
                    let daemon = daemon.clone();
                    removals.spawn(async move {
                        if let Err(error) = daemon.kill(&name).await {
                            tracing::warn!(container = name, %error, "a container could not be ended");
                        }
                    });
                }
                Some(Task::Refill) => refill(&engine, &mut starts),
                Some(Task::Stop) | None => break,
            },
            Some(_) = removals.join_next() => {}
            Some(_) = starts.join_next() => {}
            _ = tick.tick() => {
                if let Some(engine) = engine.upgrade() {
                    drop(engine.pool.take_expired());
                }
                refill(&engine, &mut starts);
            }
            _ = reap.tick() => {
                let daemon = daemon.clone();
                removals.spawn(async move {
                    if let Err(error) = reaper::reap(&daemon).await {
                        tracing::debug!(%error, "what dead owners left could not be looked for");
                    }
                });
            }
        }
    }
    starts.shutdown().await;
    // What was told before the end, that of the containers that were being started among it.
    while let Ok(task) = tasks.try_recv() {
        if let Task::Remove(name, permit) = task {
            removals.spawn(remove(daemon.clone(), name, permit, stop.clone()));
        }
    }
    let all = async { while removals.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST, all).await.is_err() {
        tracing::warn!("containers could not be removed; the next engine removes them");
    }
    stop.cancel();
}

/// Tries until it is gone.
async fn remove(
    daemon: Daemon,
    name: String,
    permit: Option<OwnedSemaphorePermit>,
    stop: CancellationToken,
) {
    let mut wait = AGAIN;
    while let Err(error) = daemon.remove(&name).await {
        tracing::debug!(container = name, %error, "a container could not be removed yet");
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(AGAIN_MAX),
            () = stop.cancelled() => break,
        }
    }
    drop(permit);
}

/// Starts as many warm containers as are lacking, as far as there may be more containers at all.
fn refill(engine: &Weak<Inner>, starts: &mut JoinSet<()>) {
    let Some(engine) = engine.upgrade() else { return };
    for policy in engine.pool.reserve_missing() {
        let Ok(permit) = Arc::clone(&engine.slots).try_acquire_owned() else {
            engine.pool.release(&policy);
            continue;
        };
        let engine = Arc::clone(&engine);
        starts.spawn(async move {
            let started = Container::start(&engine, policy.clone(), None, permit).await;
            if let Err(error) = &started {
                tracing::warn!(%error, "a container could not be started ahead of time");
            }
            engine.pool.complete(&policy, started.ok());
        });
    }
}
