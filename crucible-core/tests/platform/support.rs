//! A platform for tests, and helpers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    Command, Crucible, CrucibleBuilder, EngineError, Evaluation, EvaluationId, Event, EventKind,
    Handle, LocalBus, Monitor, Record, RecordState, Storage, verify_against,
};
use crucible_queue::MemoryQueue;
use crucible_storage::MemoryStorage;
use futures::StreamExt as _;
use tokio::time::timeout;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The backends of a platform. A test can build several platforms on the same backends.
#[derive(Debug, Clone)]
pub(crate) struct TestPlatform {
    pub(crate) engine: FakeEngine,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) bus: LocalBus,
}

impl TestPlatform {
    pub(crate) fn new() -> Self {
        Self::with_engine(FakeEngine::scripted(script))
    }

    pub(crate) fn with_engine(engine: FakeEngine) -> Self {
        Self {
            engine,
            queue: Arc::new(MemoryQueue::bounded(1000)),
            storage: Arc::new(MemoryStorage::new()),
            bus: LocalBus::new(),
        }
    }

    pub(crate) fn with_capacity(mut self, capacity: u64) -> Self {
        self.queue = Arc::new(MemoryQueue::bounded(capacity));
        self
    }

    /// Returns a complete builder that a test can change.
    pub(crate) fn builder(&self) -> CrucibleBuilder {
        Crucible::builder()
            .engine("fake", self.engine.clone())
            .queue(Arc::clone(&self.queue))
            .storage(Arc::clone(&self.storage))
            .bus(self.bus.clone())
            .workers(2)
    }

    pub(crate) fn build(&self) -> Crucible {
        self.builder().build().unwrap()
    }

    /// Returns the record and the journal of an evaluation after verifying the hash chain.
    pub(crate) async fn verified(&self, id: EvaluationId) -> (Record, Vec<Event>) {
        let record = self.storage.record(id).await.unwrap().unwrap();
        let journal = self.storage.journal(id, 0).await.unwrap();
        assert_eq!(verify_against(&journal, record.head).unwrap().as_ref(), Some(&record));
        (record, journal)
    }

    /// Waits until an evaluation has ended. It reads only the storage without faults.
    pub(crate) async fn ended(&self, id: EvaluationId) -> RecordState {
        let ended = async {
            loop {
                match self.storage.record(id).await.unwrap() {
                    Some(record) if record.state.is_terminal() => return record.state,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        within(ended).await
    }

    /// Returns the event names of a journal after verifying the hash chain.
    pub(crate) async fn event_names(&self, id: EvaluationId) -> Vec<&'static str> {
        self.verified(id).await.1.iter().map(|event| event.kind.name()).collect()
    }
}

/// A monitor that records the sequence and the name of each event, by evaluation.
#[derive(Debug, Default)]
pub(crate) struct EventRecorder(Mutex<HashMap<EvaluationId, Vec<(u64, &'static str)>>>);

impl Monitor for EventRecorder {
    fn observe(&self, event: &Event) {
        let mut recorder = self.0.lock().unwrap();
        recorder.entry(event.evaluation).or_default().push((event.sequence, event.kind.name()));
    }
}

impl EventRecorder {
    pub(crate) fn of(&self, id: EvaluationId) -> Vec<(u64, &'static str)> {
        self.0.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }
}

/// Returns the scripted behavior of a command.
pub(crate) fn script(command: &Command) -> FakeRun {
    let argument = command.argv.get(1).map(String::as_str).unwrap_or_default();
    match command.argv[0].as_str() {
        "exit" => FakeRun::exit(argument.parse().unwrap()),
        "print" => {
            FakeRun::exit(0).with_stdout(argument.to_owned()).with_stderr(format!("not {argument}"))
        }
        "sleep" => FakeRun::exit(0).with_delay(Duration::from_millis(argument.parse().unwrap())),
        "hang" => FakeRun::hang(),
        "panic" => FakeRun::panic(),
        "unavailable" => FakeRun::error(unavailable),
        "lost" => FakeRun::error(lost),
        "closed" => FakeRun::error(|| EngineError::Closed { what: "the engine".to_owned() }),
        "sh" | "python3" => FakeRun::exit(0).with_stdout(argument.to_owned()),
        other => panic!("the script has no command `{other}`"),
    }
}

/// Returns a retryable error of a program that had not started.
pub(crate) fn unavailable() -> EngineError {
    EngineError::Unavailable { what: "the daemon".to_owned(), source: None }
}

/// Returns a retryable error of a program that had started.
pub(crate) fn lost() -> EngineError {
    EngineError::Lost { doing: "running".to_owned(), started: true, source: None }
}

pub(crate) fn command(text: &str) -> Evaluation {
    Evaluation::command(text.split(' '))
}

/// Waits for a future that must complete within an hour of paused time.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(60 * MINUTE, future).await.expect("the future must complete")
}

/// Waits for a future that must complete within a minute of real time.
pub(crate) async fn within_real_time<T>(future: impl Future<Output = T>) -> T {
    timeout(MINUTE, future).await.expect("the future must complete")
}

/// Waits until the journal of the evaluation has an entry of this kind.
pub(crate) async fn until(handle: &Handle, kind: &str) {
    let mut events = handle.events();
    let reached = async {
        while let Some(event) = events.next().await {
            if event.unwrap().kind.name() == kind {
                return;
            }
        }
        panic!("the evaluation ended without `{kind}`");
    };
    within(reached).await;
}

/// Waits until the evaluation has ended and returns its state.
pub(crate) async fn ended(handle: &Handle) -> RecordState {
    let mut events = handle.events();
    let last = async {
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event.unwrap());
        }
        last.unwrap()
    };
    let last = within(last).await;
    assert!(last.kind.is_terminal(), "{last:?}");
    handle.status().await.unwrap().state
}

/// Returns the number of terminal events.
pub(crate) fn terminal_events(journal: &[Event]) -> usize {
    journal.iter().filter(|event| event.kind.is_terminal()).count()
}

/// Returns the number of started attempts.
pub(crate) fn started_events(journal: &[Event]) -> usize {
    journal.iter().filter(|event| matches!(event.kind, EventKind::Started { .. })).count()
}

/// Runs all tasks until they wait for a timer or an event. The runtime has one thread, so a few
/// yields are enough.
pub(crate) async fn run_until_idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
