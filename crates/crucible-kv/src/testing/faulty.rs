//! A store that fails when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{Backend, Batch, Durability, KvError, Range};

/// How something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// There is no room, and nothing was written.
    Full,
    /// The disk went away: nothing was written, and nobody can know that.
    Lost,
    /// The flush failed: all of it was written and can be read, and nobody can know whether it survives.
    Flush,
    /// What was read is damaged.
    Damaged,
    /// The backend panics.
    Panic,
}

/// Wraps a backend, and lets it fail.
#[derive(Debug)]
pub struct FaultyBackend {
    inner: Box<dyn Backend>,
    faults: Faults,
}

/// What is to fail. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    commits: u64,
    reads: u64,
    failing_commits: BTreeMap<u64, Fault>,
    failing_reads: BTreeMap<u64, Fault>,
    /// What every commit does that is not in the list.
    always: Option<Fault>,
}

impl Faults {
    /// Lets the `n`-th commit from now fail: 0 is the next.
    pub fn fail_commit(&self, n: u64, fault: Fault) {
        let mut plan = self.lock();
        let at = plan.commits + n;
        plan.failing_commits.insert(at, fault);
    }

    /// Lets the `n`-th read from now fail: 0 is the next.
    pub fn fail_read(&self, n: u64, fault: Fault) {
        let mut plan = self.lock();
        let at = plan.reads + n;
        plan.failing_reads.insert(at, fault);
    }

    /// Lets every commit fail from now on, or none any more.
    pub fn fail_all_commits(&self, fault: Option<Fault>) {
        self.lock().always = fault;
    }

    /// How many commits there were, failed ones included.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn next_commit(&self) -> Option<Fault> {
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

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultyBackend {
    /// Wraps a backend. Nothing fails yet.
    #[must_use]
    pub fn new(inner: impl Backend) -> Self {
        Self { inner: Box::new(inner), faults: Faults::default() }
    }

    /// What is to fail: keep it before the backend is given away.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

fn error(fault: Fault) -> KvError {
    let unavailable = |code| KvError::Unavailable {
        what: "a disk that fails for a test".into(),
        source: Arc::new(io::Error::from(code)),
    };
    match fault {
        Fault::Full => {
            KvError::Full { source: Arc::new(io::Error::from(io::ErrorKind::StorageFull)) }
        }
        Fault::Lost => unavailable(io::ErrorKind::NotConnected),
        Fault::Flush => unavailable(io::ErrorKind::Other),
        Fault::Damaged => {
            KvError::Corrupt { what: "a page that is damaged for a test".into(), source: None }
        }
        Fault::Panic => std::panic::resume_unwind(Box::new("a backend that panics for a test")),
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

    fn settled(&self) -> Option<u64> {
        self.inner.settled()
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.faults.next_read()?;
        self.inner.scan(range, limit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        match self.faults.next_commit() {
            None => self.inner.commit(batch, durability),
            Some(Fault::Flush) => {
                self.inner.commit(batch, Durability::Buffered)?;
                Err(error(Fault::Flush))
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
