//! A backend with injected faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{Backend, Batch, Durability, KvError, Range};

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendFault {
    /// The disk is full, and nothing was written.
    Full,
    /// The disk is disconnected: nothing was written, but the caller cannot know that.
    Lost,
    /// The flush failed: the batch is readable, but it may not survive a crash.
    Flush,
    /// The data is corrupt.
    Corrupt,
    /// The backend panics.
    Panic,
}

/// A wrapper that lets a backend fail.
#[derive(Debug)]
pub struct FaultyBackend {
    inner: Box<dyn Backend>,
    faults: BackendFaults,
}

/// The planned failures of a [`FaultyBackend`]. Clones share one plan.
#[derive(Clone, Debug, Default)]
pub struct BackendFaults(Arc<Mutex<FaultPlan>>);

#[derive(Debug, Default)]
struct FaultPlan {
    commits: u64,
    reads: u64,
    failing_commits: BTreeMap<u64, BackendFault>,
    failing_reads: BTreeMap<u64, BackendFault>,
    /// The fault of every commit that is not in the list.
    always: Option<BackendFault>,
}

impl BackendFaults {
    /// Makes the `n`-th commit from now fail; 0 is the next.
    pub fn fail_commit(&self, n: u64, fault: BackendFault) {
        let mut plan = self.lock();
        let at = plan.commits + n;
        plan.failing_commits.insert(at, fault);
    }

    /// Makes the `n`-th read from now fail; 0 is the next.
    pub fn fail_read(&self, n: u64, fault: BackendFault) {
        let mut plan = self.lock();
        let at = plan.reads + n;
        plan.failing_reads.insert(at, fault);
    }

    /// Makes every commit from now on fail with a fault, or succeed with `None`.
    pub fn fail_all_commits(&self, fault: Option<BackendFault>) {
        self.lock().always = fault;
    }

    /// Returns the number of commits, including failed ones.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn next_commit(&self) -> Option<BackendFault> {
        let mut plan = self.lock();
        let at = plan.commits;
        plan.commits += 1;
        plan.failing_commits.remove(&at).or(plan.always)
    }

    fn next_read(&self) -> Result<(), KvError> {
        let mut plan = self.lock();
        let at = plan.reads;
        plan.reads += 1;
        let fault = plan.failing_reads.remove(&at);
        drop(plan);
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn lock(&self) -> MutexGuard<'_, FaultPlan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultyBackend {
    /// Wraps a backend without planned failures.
    #[must_use]
    pub fn new(inner: impl Backend) -> Self {
        Self { inner: Box::new(inner), faults: BackendFaults::default() }
    }

    /// Returns the plan. Take it before the backend is moved into a store.
    #[must_use]
    pub fn faults(&self) -> BackendFaults {
        self.faults.clone()
    }
}

fn error(fault: BackendFault) -> KvError {
    let unavailable = |code| KvError::Unavailable {
        what: "the test disk".into(),
        source: Arc::new(io::Error::from(code)),
    };
    match fault {
        BackendFault::Full => {
            KvError::Full { source: Arc::new(io::Error::from(io::ErrorKind::StorageFull)) }
        }
        BackendFault::Lost => unavailable(io::ErrorKind::NotConnected),
        BackendFault::Flush => unavailable(io::ErrorKind::Other),
        BackendFault::Corrupt => {
            KvError::Corrupt { what: "a page of the test disk".into(), source: None }
        }
        BackendFault::Panic => std::panic::resume_unwind(Box::new("an injected panic")),
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for FaultyBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.faults.next_read()?;
        self.inner.get(key)
    }

    fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        self.faults.next_read()?;
        self.inner.get_cached(key)
    }

    fn generation(&self) -> Option<u64> {
        self.inner.generation()
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.faults.next_read()?;
        self.inner.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        match self.faults.next_commit() {
            None => self.inner.commit(batch, durability),
            Some(BackendFault::Flush) => {
                self.inner.commit(batch, Durability::Buffered)?;
                Err(error(BackendFault::Flush))
            }
            Some(fault) => Err(error(fault)),
        }
    }

    fn strongest(&self) -> Durability {
        self.inner.strongest()
    }

    fn reads_wait(&self) -> bool {
        self.inner.reads_wait()
    }

    fn disk_bytes(&self) -> Result<u64, KvError> {
        self.inner.disk_bytes()
    }

    fn compact(&self) -> Result<(), KvError> {
        self.inner.compact()
    }
}
