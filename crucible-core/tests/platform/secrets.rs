//! Values of secrets reach only the program.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    Command, Evaluation, Event, EventKind, Monitor, Program, RecordState, Retry, Secret,
    Storage as _, WaitError,
};

use crate::support::{TestPlatform, unavailable, within};

const VALUE: &str = "hunter2";

/// Returns an engine that records the variables A and B, and fails its first runs.
fn recording_engine(failures: usize) -> (FakeEngine, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let engine = FakeEngine::scripted({
        let seen = Arc::clone(&seen);
        move |command| {
            let values =
                ["A", "B"].map(|name| command.env[name].reveal().unwrap_or("lost").to_owned());
            let mut seen = seen.lock().unwrap();
            seen.push(values.join(" "));
            if seen.len() <= failures { FakeRun::error(unavailable) } else { FakeRun::exit(0) }
        }
    });
    (engine, seen)
}

fn evaluation() -> Evaluation {
    let command = Command::new(["env"]).with_env("A", Secret::new(VALUE));
    Evaluation::new(Program::Command(command))
        .with_env("B", Secret::new(VALUE))
        .with_retry(Retry::default().with_backoff(Duration::from_secs(1), Duration::from_secs(1)))
}

/// A monitor that records all texts of events: their wire form, debug output and variables.
#[derive(Debug, Default)]
struct LeakMonitor(Mutex<String>);

impl Monitor for LeakMonitor {
    fn observe(&self, event: &Event) {
        let mut seen = self.0.lock().unwrap();
        seen.push_str(&serde_json::to_string(event).unwrap());
        seen.push_str(&format!("{event:?}"));
        if let EventKind::Submitted { evaluation } = &event.kind {
            for value in evaluation.env.values() {
                seen.push_str(value.reveal().unwrap_or("-"));
            }
            if let Program::Command(command) = &evaluation.program {
                for value in command.env.values() {
                    seen.push_str(value.reveal().unwrap_or("-"));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_reach_only_the_program() {
    let (engine, seen) = recording_engine(2);
    let test = TestPlatform::with_engine(engine);
    let leaks = Arc::new(LeakMonitor::default());
    let crucible = test.builder().monitor(Arc::clone(&leaks)).build().unwrap();
    let handle = crucible.submit(evaluation()).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(*seen.lock().unwrap(), ["hunter2 hunter2"; 3]);
    let seen = leaks.0.lock().unwrap().clone();
    assert!(seen.contains("finished") && !seen.contains(VALUE), "{seen}");
    let (record, journal) = test.verified(handle.id()).await;
    assert_eq!(record.evaluation.env["B"].reveal(), None);
    for text in
        [format!("{record:?}{journal:?}"), serde_json::to_string(&(record, journal)).unwrap()]
    {
        assert!(!text.contains(VALUE), "{text}");
    }
    assert!(!format!("{crucible:?}{handle:?}").contains(VALUE));
}

#[tokio::test(start_paused = true)]
async fn missing_secret_on_another_host_is_named() {
    let (engine, seen) = recording_engine(0);
    let test = TestPlatform::with_engine(engine);
    let accepting = test.build();
    let handle = accepting.submit(evaluation()).await.unwrap();
    // The workers of this platform have not run yet, and now they stop.
    drop(accepting);
    let working = test.build();
    match within(working.handle(handle.id()).outcome()).await {
        Err(WaitError::Failed { report, .. }) => {
            assert_eq!(report.kind, "secret_lost");
            assert!(report.message.contains("`A`"), "{report}");
            assert!(seen.lock().unwrap().is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(test.storage.record(handle.id()).await.unwrap().unwrap().state, RecordState::Failed);
}
