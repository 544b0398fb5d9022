//! The bounded queue of jobs for the writer thread.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Batch, KvError, Transaction};

/// The maximum number of queued jobs. The writer may hold as many again. Further callers wait for a
/// free slot, first-in, first-out.
pub(crate) const CAPACITY: usize = 1024;

/// The longest time that a write without a waiting caller stays uncommitted.
pub(crate) const UNAWAITED_DELAY: Duration = Duration::from_millis(4);

/// At this number of jobs the writer starts even if no caller waits, so that slots stay free.
const BACKLOG: usize = CAPACITY / 2;

/// Reports the result of a commit or a compaction to a caller.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), KvError>) + Send>;

/// The result of a write job: its writes, and the callback of a caller that waits for the commit.
pub(crate) type RanWrite = (Batch, Option<Answer>);

/// Runs the closure of a caller, or passes it the error that prevents the run.
pub(crate) type RunWrite =
    Box<dyn for<'a> FnOnce(Result<Transaction<'a>, KvError>) -> RanWrite + Send>;

/// A job for the writer thread.
pub(crate) enum Job {
    Write(RunWrite),
    Compact(Answer),
}

/// A bounded first-in, first-out queue. Callers that wait for a slot are served in order as well.
pub(crate) struct WriteQueue {
    slots: Semaphore,
    state: Mutex<QueueState>,
    arrived: Condvar,
}

struct QueueState {
    jobs: Vec<Job>,
    /// The number of `jobs` with a waiting caller.
    awaited: usize,
    /// The arrival time of the first job without a waiting caller.
    unawaited_since: Option<Instant>,
    /// The number of awaited jobs at which the writer is woken. Values above 1 avoid a wake-up for
    /// every job while the writer gathers a group.
    wake_at: usize,
    /// Whether the writer sleeps without a timeout.
    writer_sleeps: bool,
    closed: bool,
}

/// A reserved slot in the queue. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct QueuePermit<'a> {
    queue: &'a WriteQueue,
    permit: SemaphorePermit<'a>,
}

impl WriteQueue {
    pub(crate) fn new() -> Self {
        let state = QueueState {
            jobs: Vec::new(),
            awaited: 0,
            unawaited_since: None,
            wake_at: 1,
            writer_sleeps: false,
            closed: false,
        };
        Self { slots: Semaphore::new(CAPACITY), state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Waits for a free slot.
    pub(crate) async fn reserve(&self) -> Result<QueuePermit<'_>, KvError> {
        let permit = self.slots.acquire().await.map_err(|_closed| KvError::Closed)?;
        Ok(QueuePermit { queue: self, permit })
    }

    /// Waits for a free slot and queues a job that a caller waits for.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the job is not queued.
    pub(crate) async fn push(&self, job: Job) -> Result<(), KvError> {
        self.reserve().await?.push(job)
    }

    /// Waits until a job is due, and takes all queued jobs. A job is due when a caller waits for it
    /// or when its delay has passed. Returns no jobs if `until` has passed, or if the queue is
    /// closed and empty.
    pub(crate) fn take(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.lock();
        while state.awaited == 0 && state.jobs.len() < BACKLOG && !state.closed {
            let delay_ends = state.unawaited_since.map(|since| since + UNAWAITED_DELAY);
            state = match [until, delay_ends].into_iter().flatten().min() {
                None => {
                    state.writer_sleeps = true;
                    let mut state =
                        self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.writer_sleeps = false;
                    state
                }
                Some(until) => {
                    let remaining = until.saturating_duration_since(Instant::now());
                    if remaining.is_zero() {
                        break;
                    }
                    self.wait_timeout(state, remaining)
                }
            };
        }
        (state.awaited, state.unawaited_since) = (0, None);
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.slots.add_permits(jobs.len());
        jobs
    }

    /// Waits until `count` jobs with waiting callers are queued, `until` has passed, or the queue
    /// is closed.
    pub(crate) fn gather(&self, count: usize, until: Instant) {
        let mut state = self.lock();
        state.wake_at = count;
        while state.awaited < count && state.jobs.len() < BACKLOG && !state.closed {
            let remaining = until.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                break;
            }
            state = self.wait_timeout(state, remaining);
        }
        state.wake_at = 1;
    }

    /// Refuses new jobs. Queued jobs are still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.slots.close();
        self.arrived.notify_all();
    }

    /// Returns the number of queued jobs with a waiting caller.
    pub(crate) fn awaited(&self) -> usize {
        self.lock().awaited
    }

    /// Returns `true` if the queue refuses new jobs.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Locks the state. No code under the lock can panic half-way, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_timeout<'a>(
        &self,
        state: MutexGuard<'a, QueueState>,
        timeout: Duration,
    ) -> MutexGuard<'a, QueueState> {
        self.arrived.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl QueuePermit<'_> {
    /// Queues a job that a caller waits for.
    pub(crate) fn push(self, job: Job) -> Result<(), KvError> {
        self.push_and_wake(job, |state| {
            state.awaited += 1;
            state.awaited == state.wake_at
        })
    }

    /// Queues a job that no caller waits for.
    pub(crate) fn push_unawaited(self, job: Job) -> Result<(), KvError> {
        self.push_and_wake(job, |state| {
            state.unawaited_since.get_or_insert_with(Instant::now);
            // A writer that sleeps without a timeout must start to use the delay as its timeout.
            state.writer_sleeps
        })
    }

    fn push_and_wake(
        self,
        job: Job,
        wakes: impl FnOnce(&mut QueueState) -> bool,
    ) -> Result<(), KvError> {
        let Self { queue, permit } = self;
        let mut state = queue.lock();
        if state.closed {
            return Err(KvError::Closed);
        }
        // `take` returns the permit.
        permit.forget();
        state.jobs.push(job);
        let wakes = wakes(&mut state) || state.jobs.len() == BACKLOG;
        drop(state);
        if wakes {
            queue.arrived.notify_one();
        }
        Ok(())
    }
}

impl fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("WriteQueue")
            .field("jobs", &state.jobs.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
