//! What all parts of a platform share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::expiry::Expiring;
use super::turns::Turns;
use crate::bus::EventBus;
use crate::engine::{Engine, OutputChunk};
use crate::model::{Evaluation, EvaluationId, Languages};
use crate::monitor::Monitors;
use crate::queue::Queue;
use crate::storage::Storage;

/// The numbers of a platform.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// The name of this host: workers are named after it.
    pub(super) host: String,
    pub(super) workers: usize,
    /// How long a worker may be silent before its evaluation is given to another.
    pub(super) lease: Duration,
    /// How many workers may die over one evaluation before it is a dead letter.
    pub(super) max_expired_leases: u32,
}

/// An engine under the name by which evaluations ask for it.
#[derive(Debug, Clone)]
pub(super) struct NamedEngine {
    pub(super) name: String,
    pub(super) engine: Arc<dyn Engine>,
}

/// What this process alone knows of an evaluation that it accepted: values of secrets and channels are never stored.
pub(super) struct Accepted {
    pub(super) evaluation: Arc<Evaluation>,
    pub(super) output: Option<mpsc::Sender<OutputChunk>>,
}

/// A worker's attempt that runs in this process.
pub(super) struct Running {
    /// Tells this attempt from a later one, which another worker of this process may have begun already.
    pub(super) attempt: u32,
    pub(super) cancel: CancellationToken,
}

pub(super) struct Shared {
    pub(super) config: Config,
    /// INVARIANT: not empty; the first is the default.
    pub(super) engines: Vec<NamedEngine>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) monitors: Monitors,
    pub(super) languages: Arc<Languages>,
    pub(super) accepted: Mutex<HashMap<EvaluationId, Accepted>>,
    pub(super) running: Mutex<HashMap<EvaluationId, Running>>,
    pub(super) expiring: Expiring,
    pub(super) turns: Turns,
    /// Where everything runs that must not depend on who asked for it.
    pub(super) runtime: Handle,
    /// Cancelled when no more work is to be taken.
    pub(super) stop: CancellationToken,
    /// Cancelled when running work is to be ended.
    pub(super) abort: CancellationToken,
    /// Cancelled when every task has ended: nothing will change any more at this platform's hands.
    pub(super) closed: CancellationToken,
    /// The workers, and whatever finishes their work.
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// The engine that an evaluation asks for, or the first; `None` if there is none of that name.
    pub(super) fn engine(&self, name: Option<&str>) -> Option<&NamedEngine> {
        match name {
            Some(name) => self.engines.iter().find(|engine| engine.name == name),
            None => self.engines.first(),
        }
    }

    pub(super) fn accepted(&self) -> MutexGuard<'_, HashMap<EvaluationId, Accepted>> {
        // Plain maps: consistent between statements, whoever panicked.
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<EvaluationId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .field("engines", &self.engines)
            .field("queue", &self.queue)
            .field("storage", &self.storage)
            .field("bus", &self.bus)
            .finish_non_exhaustive()
    }
}
