//! Jobs on their way to the writer.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Batch, KvError, Transaction};

/// How many jobs wait at most; as many again may be in the writer's hands. Whoever comes then waits for a place, in turn.
pub(crate) const CAPACITY: usize = 1024;

/// How long a write waits for company whose caller does not wait for it.
pub(crate) const LATER: Duration = Duration::from_millis(4);

/// So many jobs are taken even if nobody waits for one of them, so that whoever comes finds a place.
const MANY: usize = CAPACITY / 2;

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
    /// How many of `jobs` somebody waits for.
    awaited: usize,
    /// When the first of `jobs` came that nobody waits for.
    later: Option<Instant>,
    /// At how many awaited jobs the writer is to be woken, so that it is not for each that it does not begin with.
    wanted: usize,
    /// Whether the writer sleeps until it is woken, however long that may be.
    asleep: bool,
    closed: bool,
}

/// A place in line that is not taken up yet; it is free again if it never is.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    queue: &'a Queue,
    permit: SemaphorePermit<'a>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = State {
            jobs: Vec::new(),
            awaited: 0,
            later: None,
            wanted: 1,
            asleep: false,
            closed: false,
        };
        Self { places: Semaphore::new(CAPACITY), state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Waits for a place.
    pub(crate) async fn place(&self) -> Result<Place<'_>, KvError> {
        let permit = self.places.acquire().await.map_err(|_closed| KvError::Closed)?;
        Ok(Place { queue: self, permit })
    }

    /// Puts a job in line. If the future is dropped before it is ready, the job is not in line.
    pub(crate) async fn push(&self, job: Job) -> Result<(), KvError> {
        self.place().await?.push(job)
    }

    /// Waits for jobs that somebody waits for, or that have waited long enough, and takes all that are there; none if `until` came
    /// first, or the queue is closed and empty.
    pub(crate) fn take(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.lock();
        while state.awaited == 0 && state.jobs.len() < MANY && !state.closed {
            let until = [until, state.later.map(|since| since + LATER)].into_iter().flatten().min();
            state = match until {
                None => {
                    state.asleep = true;
                    let mut state =
                        self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.asleep = false;
                    state
                }
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        (state.awaited, state.later) = (0, None);
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.places.add_permits(jobs.len());
        jobs
    }

    /// Waits until somebody waits for `count` jobs, or `until` came, or the queue is closed.
    pub(crate) fn gather(&self, count: usize, until: Instant) {
        let mut state = self.lock();
        state.wanted = count;
        while state.awaited < count && state.jobs.len() < MANY && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state =
                self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted = 1;
    }

    /// Lets nobody in any more. What is in line is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.arrived.notify_all();
    }

    /// How many jobs wait that somebody waits for.
    pub(crate) fn awaited(&self) -> usize {
        self.lock().awaited
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

impl Place<'_> {
    /// Puts a job in line for which somebody waits.
    pub(crate) fn push(self, job: Job) -> Result<(), KvError> {
        self.put(job, |state| {
            state.awaited += 1;
            state.awaited == state.wanted
        })
    }

    /// Puts a job in line for which nobody waits.
    pub(crate) fn push_later(self, job: Job) -> Result<(), KvError> {
        self.put(job, |state| {
            state.later.get_or_insert_with(Instant::now);
            // A writer that sleeps for good must learn that it is to do so for a while only.
            state.asleep
        })
    }

    fn put(self, job: Job, wakes: impl FnOnce(&mut State) -> bool) -> Result<(), KvError> {
        let Self { queue, permit } = self;
        let mut state = queue.lock();
        if state.closed {
            return Err(KvError::Closed);
        }
        // It comes back when the writer takes the job.
        permit.forget();
        state.jobs.push(job);
        let wakes = wakes(&mut state) || state.jobs.len() == MANY;
        drop(state);
        if wakes {
            queue.arrived.notify_one();
        }
        Ok(())
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
