//! Composing a platform.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::crucible::Crucible;
use super::expiry::Expiring;
use super::shared::{Config, NamedEngine, Shared};
use super::turns::Turns;
use crate::bus::{EventBus, LocalBus};
use crate::engine::Engine;
use crate::model::{InvalidInput, Language, Languages, Problem};
use crate::monitor::{Monitor, Monitors};
use crate::queue::Queue;
use crate::storage::Storage;

/// A platform cannot be built like this: every problem, not the first.
#[derive(Debug, thiserror::Error)]
#[error("the platform cannot be built: {problems}")]
pub struct BuildError {
    problems: InvalidInput,
}

impl BuildError {
    /// The problems, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        self.problems.problems()
    }
}

/// Composes a [`Crucible`] from an engine, a queue, a storage, a bus and monitors.
///
/// An engine, a queue and a storage must be given. The rest has defaults:
///
/// | | default | why |
/// | --- | --- | --- |
/// | `bus` | [`LocalBus`] | a platform in one process needs no other |
/// | `languages` | [`Languages::builtin`] | |
/// | `workers` | the number of CPUs | evaluations are mostly CPU-bound |
/// | `lease` | 30 s | it is renewed every 10 s; a dead worker's evaluation waits no longer than this |
/// | `max_expired_leases` | 3 | two accidents happen; a third death is the evaluation's doing |
/// | `host` | the process id and the time of its start | workers of two hosts must not have one name |
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
    /// Nothing composed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an engine under a name by which evaluations can ask for it. The first is the default.
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

    /// Adds a language, in place of one of the same name.
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

    /// Sets how many evaluations run at once.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets how long a worker may be silent before its evaluation is given to another.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets how many workers may die over one evaluation before it is a dead letter.
    #[must_use]
    pub fn max_expired_leases(mut self, expired_leases: u32) -> Self {
        self.max_expired_leases = Some(expired_leases);
        self
    }

    /// Names this host. Hosts that share a queue must have different names.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// Builds the platform and starts its workers. Must be called within a tokio runtime with timers enabled.
    ///
    /// # Errors
    /// [`BuildError`] lists every problem.
    pub fn build(self) -> Result<Crucible, BuildError> {
        let mut problems = self.problems();
        let config = Config {
            host: self.host.unwrap_or_else(default_host),
            workers: self.workers.unwrap_or_else(cpus),
            lease: self.lease.unwrap_or(Duration::from_secs(30)),
            max_expired_leases: self.max_expired_leases.unwrap_or(3),
        };
        let runtime = Handle::try_current().ok();
        if runtime.is_none() {
            let message = "is missing: build the platform within a tokio runtime, or use the `blocking` module";
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
        Ok(Crucible::start(Shared {
            config,
            engines: self.engines,
            queue,
            storage,
            bus: self.bus.unwrap_or_else(|| Arc::new(LocalBus::new())),
            monitors: self.monitors,
            languages: Arc::new(self.languages),
            accepted: Mutex::default(),
            running: Mutex::default(),
            expiring: Expiring::default(),
            turns: Turns::default(),
            runtime,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.languages.problems();
        if self.engines.is_empty() {
            problems
                .push(Problem::new("engine", "is missing: add one with `engine(name, engine)`"));
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
        if let Some(workers) = self.workers.filter(|workers| !(1..=4096).contains(workers)) {
            problems.push(Problem::new(
                "workers",
                format!("is {workers}; it must be between 1 and 4096"),
            ));
        }
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        if let Some(lease) = self.lease.filter(|lease| !(least..=most).contains(lease)) {
            problems.push(Problem::new(
                "lease",
                format!("is {lease:?}; it must be between {least:?} and a day"),
            ));
        }
        if self.max_expired_leases == Some(0) {
            problems.push(Problem::new("max_expired_leases", "is 0; it must be at least 1"));
        }
        if self.host.as_ref().is_some_and(|host| host.is_empty() || host.len() > 200) {
            problems.push(Problem::new("host", "must be between 1 and 200 bytes long"));
        }
        problems
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// A name that no other process has: ids of processes come again, moments do not.
fn default_host() -> String {
    format!("{}-{}", std::process::id(), crate::Timestamp::now().as_micros())
}
