//! The reaper: a thread that waits until sandboxes are dead, releases their resources, and prepares
//! the next ones.
//!
//! The reaper is a thread and not a task, because remnants must go even after the host's runtime
//! has ended.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::pending_teardown::PendingTeardown;
use super::remnants::Remnants;
use super::teardown_workers::TeardownWorkers;
use crate::linux::resources::ResourceAllocator;
use crate::linux::sys::WakeEvent;

/// Interval between two kills of a guest that does not die.
const KILL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between two attempts to remove a busy cgroup.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);
/// Interval between two checks for expired sandboxes in the cache.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// The idle time after which the reaper removes surplus resources.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for dying sandboxes at the end of an engine.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The cache of ready sandboxes, which the reaper maintains between teardowns.
pub(crate) trait SandboxCache: Send + Sync + 'static {
    /// Creates the missing sandboxes. Returns the remnants of failed attempts.
    fn refill(&self, allocator: &ResourceAllocator) -> Vec<Remnants>;

    /// Removes the sandboxes that waited too long or are no longer wanted.
    fn evict_expired(&self) -> Vec<Remnants>;

    /// Removes all sandboxes.
    fn drain(&self) -> Vec<Remnants>;

    /// Returns `true` if any sandbox is ready.
    fn has_ready(&self) -> bool;
}

/// The handle of the reaper thread.
#[derive(Debug)]
pub(crate) struct Reaper {
    /// `None` once the reaper is stopped.
    jobs: Mutex<Option<Sender<Remnants>>>,
    wake: WakeEvent,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reaper {
    /// Starts the reaper and its workers.
    pub(crate) fn start<C: SandboxCache>(
        allocator: Arc<ResourceAllocator>,
        cache: Arc<C>,
    ) -> io::Result<Self> {
        let wake = WakeEvent::new()?;
        let (sender, jobs) = mpsc::channel();
        let workers = TeardownWorkers::start(&allocator, &wake)?;
        let thread = ReaperThread {
            allocator,
            cache,
            jobs,
            wake: wake.clone(),
            pending: Vec::new(),
            workers,
        };
        let thread = std::thread::Builder::new()
            .name("crucible-reaper".to_owned())
            .spawn(move || thread.run())?;
        let reaper =
            Self { jobs: Mutex::new(Some(sender)), wake, thread: Mutex::new(Some(thread)) };
        reaper.wake();
        Ok(reaper)
    }

    /// Schedules the teardown of a sandbox that is counted as dying.
    pub(crate) fn schedule_teardown(&self, remnants: Remnants) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(remnants).is_ok());
        if !sent {
            tracing::error!("a sandbox outlived its engine; the next engine removes its cgroup");
        }
        drop(jobs);
        self.wake();
    }

    /// Ends the thread, once every scheduled teardown is complete.
    pub(crate) fn stop(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the reaper panicked; the next engine removes the cgroups");
        }
    }

    /// Wakes the thread, which then refills the cache.
    pub(crate) fn wake(&self) {
        self.wake.set();
    }
}

/// The state of the thread.
struct ReaperThread<C> {
    allocator: Arc<ResourceAllocator>,
    cache: Arc<C>,
    jobs: Receiver<Remnants>,
    wake: WakeEvent,
    /// Sandboxes that are alive, or were left with a busy cgroup.
    pending: Vec<PendingTeardown>,
    workers: TeardownWorkers,
}

/// The engine is ending.
struct Stopped;

/// The reason why the thread woke up.
#[derive(PartialEq, Eq)]
enum WakeReason {
    Work,
    Idle,
}

impl<C: SandboxCache> ReaperThread<C> {
    fn run(mut self) {
        let mut stop_deadline = None;
        loop {
            if let Err(Stopped) = self.receive_jobs() {
                stop_deadline.get_or_insert_with(|| Instant::now() + STOP_TIMEOUT);
                let drained = self.cache.drain();
                self.add(drained);
            }
            let expired = self.cache.evict_expired();
            self.add(expired);
            self.release_dead();
            match stop_deadline {
                None => self.prepare(),
                Some(_) if self.remaining() == 0 => return,
                Some(deadline) if Instant::now() >= deadline => {
                    tracing::error!(
                        sandboxes = self.remaining(),
                        "sandboxes did not die with their engine"
                    );
                    return;
                }
                Some(_) => {}
            }
            if self.wait() == WakeReason::Idle {
                self.allocator.shrink();
            }
        }
    }

    fn receive_jobs(&mut self) -> Result<(), Stopped> {
        loop {
            match self.jobs.try_recv() {
                Ok(remnants) => self.pending.push(PendingTeardown::new(remnants)),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stopped),
            }
        }
    }

    /// Releases the resources of dead sandboxes.
    fn release_dead(&mut self) {
        let incomplete = self.workers.incomplete();
        let mut dead: Vec<_> = self.pending.extract_if(.., PendingTeardown::has_died).collect();
        // A handover costs more than the release itself, unless other sandboxes wait.
        if let [only] = &mut *dead
            && self.remaining() == 0
            && only.release(&self.allocator)
        {
            dead.clear();
        }
        dead.into_iter().for_each(|dead| self.workers.submit(dead));
        self.pending.extend(incomplete);
    }

    /// Returns the number of sandboxes with unreleased resources.
    fn remaining(&self) -> usize {
        self.pending.len() + self.workers.in_progress()
    }

    /// Creates the resources of the next sandboxes, and refills the cache.
    fn prepare(&mut self) {
        self.allocator.prepare();
        let failed = self.cache.refill(&self.allocator);
        self.add(failed);
    }

    /// Adds sandboxes that are not counted as dying yet.
    fn add(&mut self, remnants: Vec<Remnants>) {
        self.allocator.note_dying(remnants.len());
        self.pending.extend(remnants.into_iter().map(PendingTeardown::new));
    }

    /// Sleeps until a guest dies, the thread is woken, or a retry is due.
    fn wait(&mut self) -> WakeReason {
        let timeout = self.timeout().and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        let watched = self.pending.iter().filter_map(PendingTeardown::watched);
        fds.extend(watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let polled = rustix::event::poll(&mut fds, timeout.as_ref());
        let events: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        let reason = match polled {
            Ok(0) if self.remaining() == 0 => WakeReason::Idle,
            Ok(_) | Err(rustix::io::Errno::INTR) => WakeReason::Work,
            Err(error) => {
                tracing::error!(%error, "the reaper cannot poll");
                std::thread::sleep(RETRY_INTERVAL);
                WakeReason::Work
            }
        };
        let timed_out = polled == Ok(0);
        let watched = self.pending.iter_mut().filter(|pending| pending.watched().is_some());
        watched.zip(events).for_each(|(pending, event)| pending.set_event(event || timed_out));
        self.wake.clear();
        reason
    }

    /// Returns the longest time to sleep.
    fn timeout(&self) -> Option<Duration> {
        if self.pending.iter().any(PendingTeardown::is_dead) {
            Some(RETRY_INTERVAL)
        } else if self.remaining() > 0 {
            Some(KILL_INTERVAL)
        } else if self.allocator.has_surplus() {
            Some(IDLE_AFTER)
        } else if self.cache.has_ready() {
            Some(EXPIRY_INTERVAL)
        } else {
            None
        }
    }
}
