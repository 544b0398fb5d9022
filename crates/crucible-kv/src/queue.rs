//! Jobs on their way to the writer.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::{Batch, KvError, Transaction};

/// How many jobs wait at most; as many again may be in the writer's hands. Whoever comes then waits for a place, in turn.
pub(crate) const CAPACITY: usize = 1024;

/// Tells a caller what became of its group.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), KvError>) + Send>;

/// What a closure has left to do once it was run: its writes, and whom to tell what became of them.
pub(crate) type Ran = (Batch, Option<Answer>);

/// Runs a caller's closure, or tells the caller why not.
pub(crate) type Run = Box<dyn for<'a> FnOnce(Result<Transaction<'a>, KvError>) -> Ran + Send>;

/// What the writer is asked to do.
pub(crate) enum Job {
    /// To write.
    Write(Run),
    /// To give space back.
    Compact(Answer),
}

/// A bounded queue: first in, first out, also for those that wait for a place.
pub(crate) struct Queue {
    places: Semaphore,
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    jobs: Vec<Job>,
    /// At how many jobs the writer is to be woken, so that it is not for each that it does not begin with.
    wanted: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = State { jobs: Vec::new(), wanted: 1, closed: false };
        Self { places: Semaphore::new(CAPACITY), state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Puts a job in line. If the future is dropped before it is ready, the job is not in line.
    pub(crate) async fn push(&self, job: Job) -> Result<(), KvError> {
        let place = self.places.acquire().await.map_err(|_closed| KvError::Closed)?;
        let mut state = self.lock();
        if state.closed {
            return Err(KvError::Closed);
        }
        // It comes back when the writer takes the job.
        place.forget();
        state.jobs.push(job);
        if state.jobs.len() == state.wanted {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs and takes them all; none if `until` came first, or the queue is closed and empty.
    pub(crate) fn take(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state = match until {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.places.add_permits(jobs.len());
        jobs
    }

    /// Waits until there are `count` jobs, or `until` came, or the queue is closed.
    pub(crate) fn gather(&self, count: usize, until: Instant) {
        let mut state = self.lock();
        state.wanted = count;
        while state.jobs.len() < count && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted = 1;
    }

    /// Lets nobody in any more. What is in line is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.arrived.notify_all();
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue")
            .field("jobs", &state.jobs.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
