//! The thread that commits, beside the one that runs the closures of the group after.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::queue::{Answer, Queue};
use crate::{Backend, Batch, Durability, KvError};

/// What a store's threads share.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) poison: Arc<OnceLock<Arc<str>>>,
    pub(crate) durability: Durability,
}

impl Core {
    pub(crate) fn check(&self) -> Result<(), KvError> {
        match self.poison.get() {
            Some(reason) => Err(KvError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Does something to the backend, and poisons the store unless the backend is known to be as it was or as asked.
    pub(crate) fn attempt(
        &self,
        what: &str,
        action: impl FnOnce() -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        self.check()?;
        let result = panic::catch_unwind(AssertUnwindSafe(action));
        let reason: Arc<str> = match &result {
            Ok(Ok(()) | Err(KvError::Full { .. })) => return result.unwrap_or(Ok(())),
            Ok(Err(error)) => format!("{what}: {}", chain(error)).into(),
            Err(_) => format!("{what}: the backend panicked").into(),
        };
        let reason = self.poison.get_or_init(|| reason);
        Err(KvError::Poisoned { reason: Arc::clone(reason) })
    }
}

/// An error and its causes in one line: the reason outlives them.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What became of a group.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Result<(), KvError>,
    /// How many waited for it.
    pub(crate) answered: usize,
    pub(crate) took: Duration,
}

/// Commits one group at a time.
pub(crate) struct Committer {
    lane: Arc<Lane>,
    thread: Option<JoinHandle<()>>,
}

struct Lane {
    core: Core,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    group: Option<(Arc<Batch>, Vec<Answer>)>,
    done: Option<Done>,
    stopped: bool,
}

impl Committer {
    pub(crate) fn start(core: Core) -> std::io::Result<Self> {
        let lane = Arc::new(Lane { core, state: Mutex::default(), changed: Condvar::new() });
        let thread = thread::Builder::new().name("crucible-kv-log".to_owned()).spawn({
            let lane = Arc::clone(&lane);
            move || lane.run()
        })?;
        Ok(Self { lane, thread: Some(thread) })
    }

    /// Begins with a group; the one before is done.
    pub(crate) fn begin(&self, batch: Arc<Batch>, answers: Vec<Answer>) {
        self.lane.lock().group = Some((batch, answers));
        self.lane.changed.notify_all();
    }

    /// What became of the group, if it is done.
    pub(crate) fn done(&self) -> Option<Done> {
        self.lane.lock().done.take()
    }

    /// Waits until the group is done.
    pub(crate) fn wait(&self) -> Done {
        let mut state = self.lane.lock();
        loop {
            if let Some(done) = state.done.take() {
                return done;
            }
            state = self.lane.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.lane.lock().stopped = true;
        self.lane.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // What it does is guarded against panics.
            drop(thread.join());
        }
    }
}

impl Lane {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some((batch, answers)) = state.group.take() else {
                if state.stopped {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let began = Instant::now();
            let Core { backend, durability, .. } = &self.core;
            let result = self.core.attempt("a commit failed", || backend.commit(&batch, *durability));
            drop(batch);
            let done = Done { result: result.clone(), answered: answers.len(), took: began.elapsed() };
            self.lock().done = Some(done);
            self.changed.notify_all();
            // The next group can be handed over while this one is told.
            self.core.queue.poke();
            for answer in answers {
                answer(result.clone());
            }
            state = self.lock();
        }
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
