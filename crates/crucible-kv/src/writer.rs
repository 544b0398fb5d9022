//! The writer thread: group commit.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::write_queue::{Answer, CAPACITY, Job, RunWrite, UNAWAITED_DELAY, WriteQueue};
use crate::{Backend, Batch, Durability, KvError, Transaction};

/// The maximum number of keys in a group. It bounds the time that a caller waits for others.
const GROUP_WRITES: usize = 4096;

/// The maximum size of a group in bytes, unless a single write is larger.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The divisor of a commit's duration that gives the time to gather the next group.
///
/// The wait lets the callers of the last group write again. Without it, two halves of the callers
/// alternate, and every commit serves only half of them.
const GATHER_DIVISOR: u32 = 4;

/// The maximum time to gather a group, however long a commit takes.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// The shortest commit that is followed by gathering. After a faster commit, callers need about as
/// long as the commit to write again. Two alternating halves then keep both processor and disk
/// busy, and one large group would not.
const GATHER_AFTER: Duration = Duration::from_millis(1);

/// The writer thread's part of a store. It takes jobs until the queue is closed and empty.
pub(crate) struct StoreWriter {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) queue: Arc<WriteQueue>,
    pub(crate) poison: Arc<OnceLock<Arc<str>>>,
    pub(crate) durability: Durability,
}

/// Writes that are committed together.
#[derive(Default)]
struct CommitGroup {
    batch: Batch,
    /// Callbacks of the callers that wait for the commit.
    answers: Vec<Answer>,
    /// The latest time of the commit if no caller waits for it.
    deadline: Option<Instant>,
}

impl CommitGroup {
    fn is_full(&self) -> bool {
        self.batch.len() >= GROUP_WRITES || self.batch.bytes() >= GROUP_BYTES
    }

    fn is_due(&self) -> bool {
        !self.answers.is_empty()
            || self.is_full()
            || self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.batch.is_empty()
    }
}

impl StoreWriter {
    /// Runs jobs until the queue is closed and empty.
    pub(crate) fn run(self) {
        let mut group = CommitGroup::default();
        let mut jobs = VecDeque::new();
        loop {
            if jobs.is_empty() {
                jobs.extend(self.queue.take(group.deadline));
            }
            let closed = jobs.is_empty() && self.queue.is_closed();
            while !group.is_full()
                && let Some(job) = jobs.pop_front()
            {
                self.run_job(&mut group, job);
            }
            if group.is_due() || (closed && !group.is_empty()) {
                let (answered, began) = (group.answers.len(), Instant::now());
                self.commit(std::mem::take(&mut group));
                if jobs.is_empty() {
                    self.gather(answered, began.elapsed());
                }
            }
            if closed {
                break;
            }
        }
        self.flush_at_close();
    }

    fn run_job(&self, group: &mut CommitGroup, job: Job) {
        match job {
            Job::Write(run) => self.add_write(group, run),
            Job::Compact(answer) => {
                self.commit(std::mem::take(group));
                answer(self.attempt("a compaction failed", || self.backend.compact()));
            }
        }
    }

    /// Runs a write closure and adds its writes to the group.
    fn add_write(&self, group: &mut CommitGroup, run: RunWrite) {
        let transaction =
            self.check_poison().map(|()| Transaction::new(&*self.backend, &group.batch));
        let (writes, answer) = run(transaction);
        if !writes.is_empty() {
            group.deadline.get_or_insert_with(|| Instant::now() + UNAWAITED_DELAY);
        }
        group.batch.merge(writes);
        group.answers.extend(answer);
    }

    /// Waits for the callers of the last group to write again. A single caller is not delayed.
    fn gather(&self, answered: usize, commit: Duration) {
        let expected = (answered + self.queue.awaited()).min(CAPACITY);
        if expected > 1 && commit >= GATHER_AFTER {
            let timeout = (commit / GATHER_DIVISOR).min(GATHER_MAX);
            self.queue.gather(expected, Instant::now() + timeout);
        }
    }

    /// Commits a group and answers its callers.
    fn commit(&self, group: CommitGroup) {
        // Without writes in the group, its callers have read only committed entries.
        let result = if group.batch.is_empty() {
            Ok(())
        } else {
            self.attempt("a commit failed", || self.backend.commit(&group.batch, self.durability))
        };
        for answer in group.answers {
            answer(result.clone());
        }
    }

    /// Makes all commits as durable as the backend can. An orderly close thereby keeps everything,
    /// whatever the durability of the store.
    fn flush_at_close(&self) {
        let strongest = self.backend.strongest();
        if self.durability < strongest {
            // No caller waits for this. A failure poisons the store, and `Store::close` reports it.
            let _reported_by_close = self.attempt("the flush at close failed", || {
                self.backend.commit(&Batch::new(), strongest)
            });
        }
    }

    fn check_poison(&self) -> Result<(), KvError> {
        match self.poison.get() {
            Some(reason) => Err(KvError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Runs an operation on the backend. Poisons the store after an error, unless the disk was
    /// full: then nothing was written.
    fn attempt(
        &self,
        what: &str,
        action: impl FnOnce() -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        self.check_poison()?;
        let result = panic::catch_unwind(AssertUnwindSafe(action));
        let reason: Arc<str> = match &result {
            Ok(Ok(()) | Err(KvError::Full { .. })) => return result.unwrap_or(Ok(())),
            Ok(Err(error)) => format!("{what}: {}", error_chain(error)).into(),
            Err(_) => format!("{what}: the backend panicked").into(),
        };
        let reason = self.poison.get_or_init(|| reason);
        Err(KvError::Poisoned { reason: Arc::clone(reason) })
    }
}

/// Returns an error and its causes in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
