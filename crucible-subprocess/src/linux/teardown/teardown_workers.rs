//! Threads that release the resources of dead sandboxes.
//!
//! Removing a mount namespace and removing a cgroup both wait for the kernel, for an RCU grace
//! period each. One thread would fall behind hosts that end thousands of sandboxes, and new
//! sandboxes would find no ready resources.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::pending_teardown::PendingTeardown;
use crate::linux::resources::ResourceAllocator;
use crate::linux::sys::WakeEvent;

/// Number of threads. They mostly wait.
const THREADS: usize = 4;

/// The threads, joined on drop. No teardown should be in progress then.
#[derive(Debug)]
pub(super) struct TeardownWorkers {
    jobs: Option<Sender<PendingTeardown>>,
    /// `None` for a complete teardown, or the teardown to try again.
    results: Receiver<Option<PendingTeardown>>,
    in_progress: usize,
    threads: Vec<JoinHandle<()>>,
}

impl TeardownWorkers {
    /// Starts the threads, which set `wake` after each teardown.
    pub(super) fn start(allocator: &Arc<ResourceAllocator>, wake: &WakeEvent) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<PendingTeardown>();
        let (finished, results) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut workers = Self { jobs: Some(sender), results, in_progress: 0, threads: Vec::new() };
        for _ in 0..THREADS {
            let (jobs, finished) = (Arc::clone(&jobs), finished.clone());
            let (allocator, wake) = (Arc::clone(allocator), wake.clone());
            let work = move || {
                while let Some(mut teardown) = next(&jobs) {
                    let is_done = teardown.release(&allocator);
                    if finished.send((!is_done).then_some(teardown)).is_err() {
                        return;
                    }
                    wake.set();
                }
            };
            let builder = std::thread::Builder::new().name("crucible-teardown".to_owned());
            workers.threads.push(builder.spawn(work)?);
        }
        Ok(workers)
    }

    /// Hands a dead sandbox to the threads.
    pub(super) fn submit(&mut self, teardown: PendingTeardown) {
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send(teardown).is_ok()) {
            self.in_progress += 1;
        } else {
            tracing::error!("the teardown threads have ended; the next engine removes the cgroup");
        }
    }

    /// Returns the sandboxes with resources that could not be released yet.
    pub(super) fn incomplete(&mut self) -> Vec<PendingTeardown> {
        let mut incomplete = Vec::new();
        while let Ok(result) = self.results.try_recv() {
            self.in_progress -= 1;
            incomplete.extend(result);
        }
        incomplete
    }

    /// Returns the number of teardowns in progress.
    pub(super) fn in_progress(&self) -> usize {
        self.in_progress
    }
}

/// Receives the next dead sandbox. One thread waits for it, and the others wait for the lock.
fn next(jobs: &Mutex<Receiver<PendingTeardown>>) -> Option<PendingTeardown> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Drop for TeardownWorkers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a teardown panicked; the next engine removes the cgroup");
            }
        }
    }
}
