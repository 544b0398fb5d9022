//! The one thread that writes: group commit.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::queue::{Answer, CAPACITY, Job, LATER, Queue, Run};
use crate::{Backend, Batch, Durability, KvError, Transaction};

/// A group has no more writes, so that nobody waits for the whole queue.
const GROUP_WRITES: usize = 4096;

/// Nor more bytes, unless a single write has.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The part of a commit's time that may pass before the next one, for those to come back who were just answered. Without it,
/// half of them are in one group and half in the next, for ever, and every commit is for half as many.
const GATHERING: u32 = 4;

/// No longer is waited for them, however long a commit takes.
const GATHERING_MAX: Duration = Duration::from_millis(1);

/// After a commit that was quicker nobody is waited for. Callers take about as long as it did to come back then, and do that while the
/// others are committed: two halves that take turns keep the processors and the disk busy, one group keeps either of them waiting.
const GATHERING_FROM: Duration = Duration::from_millis(1);

/// Takes jobs from the queue until it is closed and empty.
pub(crate) struct Writer {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) poison: Arc<OnceLock<Arc<str>>>,
    pub(crate) durability: Durability,
}

/// Writes that will be committed together.
#[derive(Default)]
struct Group {
    batch: Batch,
    /// Those who wait for the commit.
    answers: Vec<Answer>,
    /// By when it is committed even if nobody waits for it.
    until: Option<Instant>,
}

impl Group {
    fn is_full(&self) -> bool {
        self.batch.len() >= GROUP_WRITES || self.batch.bytes() >= GROUP_BYTES
    }

    fn is_due(&self) -> bool {
        !self.answers.is_empty()
            || self.is_full()
            || self.until.is_some_and(|until| until <= Instant::now())
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.batch.is_empty()
    }
}

impl Writer {
    pub(crate) fn run(self) {
        let mut group = Group::default();
        let mut jobs = VecDeque::new();
        loop {
            if jobs.is_empty() {
                jobs.extend(self.queue.take(group.until));
            }
            let closed = jobs.is_empty() && self.queue.is_closed();
            while !group.is_full()
                && let Some(job) = jobs.pop_front()
            {
                match job {
                    Job::Write(run) => self.join(&mut group, run),
                    Job::Compact(answer) => {
                        self.commit(std::mem::take(&mut group));
                        answer(
                            self.attempt("the space was not given back", || self.backend.compact()),
                        );
                    }
                }
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
        self.settle();
    }

    /// Runs a write's closure as the last of a group.
    fn join(&self, group: &mut Group, run: Run) {
        let transaction = self.check().map(|()| Transaction::new(&*self.backend, &group.batch));
        let (writes, answer) = run(transaction);
        if !writes.is_empty() {
            group.until.get_or_insert_with(|| Instant::now() + LATER);
        }
        group.batch.merge(writes);
        group.answers.extend(answer);
    }

    /// Gives those who were just answered the time to come back. Whoever is alone is not held up.
    fn gather(&self, answered: usize, commit: Duration) {
        let expected = (answered + self.queue.awaited()).min(CAPACITY);
        if expected > 1 && commit >= GATHERING_FROM {
            let patience = (commit / GATHERING).min(GATHERING_MAX);
            self.queue.gather(expected, Instant::now() + patience);
        }
    }

    fn commit(&self, group: Group) {
        // Those who only looked have seen nothing that is not committed.
        let result = if group.batch.is_empty() {
            Ok(())
        } else {
            self.attempt("a commit failed", || self.backend.commit(&group.batch, self.durability))
        };
        for answer in group.answers {
            answer(result.clone());
        }
    }

    /// A store that promises little is still wholly there after an end in order.
    fn settle(&self) {
        let strongest = self.backend.strongest();
        if self.durability < strongest {
            // Nobody waits for this; whoever asks afterwards finds the store poisoned if it failed.
            let _poisoned_if_not = self
                .attempt("the last flush failed", || self.backend.commit(&Batch::new(), strongest));
        }
    }

    fn check(&self) -> Result<(), KvError> {
        match self.poison.get() {
            Some(reason) => Err(KvError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Does something to the backend, and poisons the store unless the backend is known to be as it was or as asked.
    fn attempt(
        &self,
        what: &str,
        action: impl FnOnce() -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        self.check()?;
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

/// An error and its causes in one line: the reason outlives them.
fn error_chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
