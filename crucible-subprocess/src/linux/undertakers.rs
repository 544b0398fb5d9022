//! Threads that give back what dead sandboxes held.
//!
//! Taking a mount namespace down, and removing a group, waits for the kernel (an RCU grace period each): one after another, a single thread
//! would come behind where sandboxes end by the thousand, and those to come would find nothing that is ready.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::janitor::{Mourned, ring};
use super::resources::Resources;

/// They mostly wait.
const THREADS: usize = 4;

/// The threads. Dropped, they end; nothing is to be under way then.
#[derive(Debug)]
pub(super) struct Undertakers {
    dead: Option<Sender<Mourned>>,
    /// What came of each: what was given back whole, and what is to be tried again.
    done: Receiver<Option<Mourned>>,
    under_way: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Undertakers {
    /// Starts the threads, which ring the bell whenever they have done something.
    pub(super) fn start(resources: &Arc<Resources>, bell: &Arc<OwnedFd>) -> std::io::Result<Self> {
        let (dead, jobs) = mpsc::channel::<Mourned>();
        let (tell, done) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut undertakers = Self { dead: Some(dead), done, under_way: 0, threads: Vec::new() };
        for _ in 0..THREADS {
            let (jobs, tell) = (Arc::clone(&jobs), tell.clone());
            let (resources, bell) = (Arc::clone(resources), Arc::clone(bell));
            let work = move || {
                while let Some(mut mourned) = next(&jobs) {
                    let is_done = mourned.give_back(&resources);
                    if tell.send((!is_done).then_some(mourned)).is_err() {
                        return;
                    }
                    ring(&bell);
                }
            };
            let thread =
                std::thread::Builder::new().name("crucible-bury".to_owned()).spawn(work)?;
            undertakers.threads.push(thread);
        }
        Ok(undertakers)
    }

    /// Hands a dead sandbox over.
    pub(super) fn bury(&mut self, mourned: Mourned) {
        if self.dead.as_ref().is_some_and(|dead| dead.send(mourned).is_ok()) {
            self.under_way += 1;
        } else {
            tracing::error!(
                "nobody gives a sandbox back any more; its cgroup is left to the next engine"
            );
        }
    }

    /// Those that could not be given back yet.
    pub(super) fn returned(&mut self) -> Vec<Mourned> {
        let mut returned = Vec::new();
        while let Ok(done) = self.done.try_recv() {
            self.under_way -= 1;
            returned.extend(done);
        }
        returned
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }
}

/// The next that is dead; one thread waits for it, and the others for their turn.
fn next(jobs: &Mutex<Receiver<Mourned>>) -> Option<Mourned> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Drop for Undertakers {
    fn drop(&mut self) {
        self.dead = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(
                    "giving a sandbox back panicked; a cgroup may be left to the next engine"
                );
            }
        }
    }
}
