//! The builder of a platform.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accepted_evaluations::AcceptedEvaluations;
use super::crucible::Crucible;
use super::expiry_queue::ExpiryQueue;
use super::journal_writer::JournalWriter;
use super::platform::{NamedEngine, Platform, PlatformConfig};
use super::running_attempts::RunningAttempts;
use crate::bus::{EventBus, LocalBus};
use crate::engine::Engine;
use crate::model::{InvalidInput, Language, Languages, Problem, Timestamp};
use crate::monitor::{Monitor, Monitors};
use crate::queue::Queue;
use crate::storage::Storage;

/// The problems that keep a platform from being built: all of them, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("cannot build the platform: {problems}")]
pub struct BuildError {
    problems: InvalidInput,
}

impl BuildError {
    /// Returns the problems. There is at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        self.problems.problems()
    }
}

/// Builds a [`Crucible`] from engines, a queue, a storage, a bus and monitors.
///
/// An engine, a queue and a storage are required. The other settings have defaults:
///
/// | setting | default | reason |
/// | --- | --- | --- |
/// | `bus` | [`LocalBus`] | a platform in one process needs no other bus |
/// | `languages` | [`Languages::builtin`] | |
/// | `workers` | the number of CPUs | evaluations are mostly CPU-bound |
/// | `lease` | 30 s | renewed every 10 s; the ticket of a dead worker waits no longer than this |
/// | `max_expired_leases` | 3 | two may be accidents; the evaluation is likely to cause the third |
/// | `host` | process id and start time | workers of two hosts must have different names |
#[derive(Debug, Default)]
pub struct CrucibleBuilder {
    engines: Vec<NamedEngine>,
    queue: Option<Arc<dyn Queue>>,
    storage: Option<Arc<dyn Storage>>,
    bus: Option<Arc<dyn EventBus>>,
    monitors: Monitors,
    languages: Languages,
    workers: Option<usize>,
    lease: Option<Duration>,
    max_expired_leases: Option<u32>,
    host: Option<String>,
}

impl CrucibleBuilder {
    /// Creates an empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an engine and the name by which evaluations request it.
    ///
    /// The first engine is the default.
    #[must_use]
    pub fn engine(mut self, name: impl Into<String>, engine: impl Engine) -> Self {
        self.engines.push(NamedEngine { name: name.into(), engine: Arc::new(engine) });
        self
    }

    /// Sets the queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Queue) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// Sets the storage.
    #[must_use]
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// Sets the bus.
    #[must_use]
    pub fn bus(mut self, bus: impl EventBus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// Adds a monitor.
    #[must_use]
    pub fn monitor(mut self, monitor: impl Monitor) -> Self {
        self.monitors = self.monitors.with(Arc::new(monitor));
        self
    }

    /// Adds a language. It replaces a language with the same name.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.languages.register(language);
        self
    }

    /// Sets the languages.
    #[must_use]
    pub fn languages(mut self, languages: Languages) -> Self {
        self.languages = languages;
        self
    }

    /// Sets the number of evaluations that run at the same time.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets the time without a renewal after which the queue hands a ticket to another worker.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the number of expired leases at which an evaluation becomes a dead letter.
    #[must_use]
    pub fn max_expired_leases(mut self, expired_leases: u32) -> Self {
        self.max_expired_leases = Some(expired_leases);
        self
    }

    /// Sets the name of this host. Hosts that share a queue must have different names.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// Builds the platform and starts its workers.
    ///
    /// The caller must be in a tokio runtime with timers enabled.
    ///
    /// # Errors
    /// Returns a [`BuildError`] with every problem.
    pub fn build(self) -> Result<Crucible, BuildError> {
        let mut problems = self.problems();
        let config = PlatformConfig {
            host: self.host.unwrap_or_else(default_host),
            workers: self.workers.unwrap_or_else(cpus),
            lease: self.lease.unwrap_or(Duration::from_secs(30)),
            max_expired_leases: self.max_expired_leases.unwrap_or(3),
        };
        let runtime = Handle::try_current().ok();
        if runtime.is_none() {
            let message =
                "is missing: build the platform in a tokio runtime, or use the `blocking` module";
            problems.push(Problem::new("runtime", message));
        }
        let (Some(queue), Some(storage), Some(runtime), true) =
            (self.queue, self.storage, runtime, problems.is_empty())
        else {
            let problems = InvalidInput::check(problems).err().unwrap_or_else(|| {
                InvalidInput::single("builder", "has neither a queue and a storage nor a problem")
            });
            return Err(BuildError { problems });
        };
        let bus = self.bus.unwrap_or_else(|| Arc::new(LocalBus::new()));
        Ok(Crucible::start(Platform {
            config,
            engines: self.engines,
            queue,
            journal: JournalWriter::new(storage, bus, self.monitors),
            languages: Arc::new(self.languages),
            accepted: AcceptedEvaluations::default(),
            running: RunningAttempts::default(),
            expiry: ExpiryQueue::default(),
            runtime,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.languages.problems();
        problems.extend(self.backend_problems());
        if let Some(workers) = self.workers.filter(|workers| !(1..=4096).contains(workers)) {
            let message = format!("is {workers}; it must be between 1 and 4096");
            problems.push(Problem::new("workers", message));
        }
        let (min, max) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        if let Some(lease) = self.lease.filter(|lease| !(min..=max).contains(lease)) {
            let message = format!("is {lease:?}; it must be between {min:?} and a day");
            problems.push(Problem::new("lease", message));
        }
        if self.max_expired_leases == Some(0) {
            problems.push(Problem::new("max_expired_leases", "is 0; it must be at least 1"));
        }
        if self.host.as_ref().is_some_and(|host| host.is_empty() || host.len() > 200) {
            problems.push(Problem::new("host", "must be between 1 and 200 bytes long"));
        }
        problems
    }

    /// Returns the problems of the engines, the queue and the storage.
    fn backend_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.engines.is_empty() {
            let message = "is missing: add one with `engine(name, engine)`";
            problems.push(Problem::new("engine", message));
        }
        for (index, named) in self.engines.iter().enumerate() {
            if named.name.is_empty() {
                problems.push(Problem::new("engine", "has an empty name"));
            }
            if self.engines.iter().take(index).any(|other| other.name == named.name) {
                problems.push(Problem::new("engine", format!("{:?} is given twice", named.name)));
            }
        }
        if self.queue.is_none() {
            problems.push(Problem::new("queue", "is missing"));
        }
        if self.storage.is_none() {
            problems.push(Problem::new("storage", "is missing"));
        }
        problems
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Returns a name that no other process has. The kernel reuses process ids, so the name also has
/// the current time.
fn default_host() -> String {
    format!("{}-{}", std::process::id(), Timestamp::now().as_micros())
}
