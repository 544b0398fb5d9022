//! A platform to try things on, and what is asked of it again and again.

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

/// Everything that hosts share: several platforms can be built on the same.
#[derive(Debug, Clone)]
pub(crate) struct House {
    pub(crate) engine: FakeEngine,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) bus: LocalBus,
}

impl House {
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

    /// A builder with everything that is needed, for whoever wants to change some of it.
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

    /// The record and the journal of an evaluation, whose every link was checked.
    pub(crate) async fn sound(&self, id: EvaluationId) -> (Record, Vec<Event>) {
        let record = self.storage.record(id).await.unwrap().unwrap();
        let journal = self.storage.journal(id, 0).await.unwrap();
        assert_eq!(verify_against(&journal, record.head).unwrap().as_ref(), Some(&record));
        (record, journal)
    }

    /// Waits until an evaluation has ended, by asking the storage alone: for platforms whose backends fail on purpose.
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

    /// The names of the entries of a journal, whose every link was checked.
    pub(crate) async fn names(&self, id: EvaluationId) -> Vec<&'static str> {
        self.sound(id).await.1.iter().map(|event| event.kind.name()).collect()
    }
}

/// Notes the entries of each evaluation: their sequences and names; signals with the sequence of their entry.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<HashMap<EvaluationId, Vec<(u64, &'static str)>>>);

impl Monitor for Notes {
    fn observe(&self, event: &Event) {
        let mut notes = self.0.lock().unwrap();
        notes.entry(event.evaluation).or_default().push((event.sequence, event.kind.name()));
    }
}

impl Notes {
    pub(crate) fn of(&self, id: EvaluationId) -> Vec<(u64, &'static str)> {
        self.0.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }
}

/// What the engine does with a command, by its first arguments.
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

/// An error that is retryable, before the program had started.
pub(crate) fn unavailable() -> EngineError {
    EngineError::Unavailable { what: "the daemon".to_owned(), source: None }
}

/// An error that is retryable, after the program had started.
pub(crate) fn lost() -> EngineError {
    EngineError::Lost { doing: "running".to_owned(), started: true, source: None }
}

pub(crate) fn command(text: &str) -> Evaluation {
    Evaluation::command(text.split(' '))
}

/// Waits for something that must come: for an hour, which paused time makes short.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(60 * MINUTE, future).await.expect("it comes to an end")
}

/// The same where time is real.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(MINUTE, future).await.expect("it comes to an end")
}

/// Waits until the evaluation's journal has an entry of this kind.
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

/// Waits until the evaluation has ended, however it does.
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

/// The events that end an evaluation.
pub(crate) fn endings(journal: &[Event]) -> usize {
    journal.iter().filter(|event| event.kind.is_terminal()).count()
}

/// How many attempts were started.
pub(crate) fn starts(journal: &[Event]) -> usize {
    journal.iter().filter(|event| matches!(event.kind, EventKind::Started { .. })).count()
}

/// Lets every task run until it waits for time to pass, or for ever. There is one thread, so that a few turns are all
/// it takes.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
