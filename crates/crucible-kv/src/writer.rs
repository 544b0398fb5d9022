//! The thread that runs the closures of writes: group commit.
//!
//! While one group is committed, by [another thread](crate::committer), the closures of the next are run: they see what the first
//! has written, and are answered after it. Where it fails, so do they.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::committer::{Committer, Core, Done};
use crate::queue::{Answer, CAPACITY, Job, LATER, Run};
use crate::{Batch, KvError, Transaction};

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
    core: Core,
    committer: Committer,
    /// What is being committed.
    flight: Option<Arc<Batch>>,
    group: Group,
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
        !self.answers.is_empty() || self.is_full() || self.until.is_some_and(|until| until <= Instant::now())
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.batch.is_empty()
    }
}

impl Writer {
    /// # Errors
    /// There is no thread.
    pub(crate) fn new(core: Core) -> std::io::Result<Self> {
        let committer = Committer::start(core.clone())?;
        Ok(Self { core, committer, flight: None, group: Group::default() })
    }

    pub(crate) fn run(mut self) {
        let mut jobs = VecDeque::new();
        loop {
            if self.flight.is_some()
                && let Some(done) = self.committer.done()
            {
                self.land(&done, jobs.is_empty());
            }
            if self.group.is_full() && self.flight.is_some() {
                let done = self.committer.wait();
                self.land(&done, false);
            }
            if jobs.is_empty() && !(self.flight.is_none() && self.group.is_due()) {
                // With one under way the next cannot begin, however long it has waited.
                let until = if self.flight.is_some() { None } else { self.group.until };
                jobs.extend(self.core.queue.take(until));
            }
            let closed = jobs.is_empty() && self.core.queue.is_closed();
            while !self.group.is_full()
                && let Some(job) = jobs.pop_front()
            {
                match job {
                    Job::Write(run) => self.join(run),
                    Job::Compact(answer) => {
                        self.finish();
                        let Core { backend, .. } = &self.core;
                        answer(self.core.attempt("the space was not given back", || backend.compact()));
                    }
                }
            }
            if closed {
                self.finish();
                break;
            }
            if self.flight.is_none() && self.group.is_due() {
                self.begin();
            }
        }
        self.settle();
    }

    /// Runs a write's closure as the last of the group.
    fn join(&mut self, run: Run) {
        let nothing = Batch::new();
        let flight = self.flight.as_deref().unwrap_or(&nothing);
        let transaction =
            self.core.check().map(|()| Transaction::new(&*self.core.backend, flight, &self.group.batch));
        let (writes, answer) = run(transaction);
        if !writes.is_empty() {
            self.group.until.get_or_insert_with(|| Instant::now() + LATER);
        }
        self.group.batch.merge(writes);
        self.group.answers.extend(answer);
    }

    /// Lets the group be committed. Nothing else is under way.
    fn begin(&mut self) {
        let Group { batch, answers, .. } = std::mem::take(&mut self.group);
        if batch.is_empty() {
            // They only looked, at nothing that is not committed.
            answers.into_iter().for_each(|answer| answer(self.core.check()));
            return;
        }
        let batch = Arc::new(batch);
        self.flight = Some(Arc::clone(&batch));
        self.committer.begin(batch, answers);
    }

    /// What was under way is done. If it failed, so does the group, whose closures have seen it.
    fn land(&mut self, done: &Done, is_idle: bool) {
        self.flight = None;
        if let Err(error) = &done.result {
            self.fail(error);
        } else if is_idle && !self.group.is_full() {
            self.gather(done.answered, done.took);
        }
    }

    fn fail(&mut self, error: &KvError) {
        for answer in std::mem::take(&mut self.group).answers {
            answer(Err(error.clone()));
        }
    }

    /// Waits until everything is committed.
    fn finish(&mut self) {
        if self.flight.is_some() {
            let done = self.committer.wait();
            self.land(&done, false);
        }
        if !self.group.is_empty() {
            self.begin();
        }
        if self.flight.is_some() {
            let done = self.committer.wait();
            self.land(&done, false);
        }
    }

    /// Gives those who were just answered the time to come back. Whoever is alone is not held up.
    fn gather(&self, answered: usize, commit: Duration) {
        let expected = (answered + self.core.queue.awaited()).min(CAPACITY);
        if expected > 1 && commit >= GATHERING_FROM {
            let patience = (commit / GATHERING).min(GATHERING_MAX);
            self.core.queue.gather(expected, Instant::now() + patience);
        }
    }

    /// A store that promises little is still wholly there after an end in order.
    fn settle(&self) {
        let Core { backend, durability, .. } = &self.core;
        let strongest = backend.strongest();
        if *durability < strongest {
            // Nobody waits for this; whoever asks afterwards finds the store poisoned if it failed.
            let _poisoned_if_not =
                self.core.attempt("the last flush failed", || backend.commit(&Batch::new(), strongest));
        }
    }
}
