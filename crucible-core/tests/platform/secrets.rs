//! Values of secrets reach the program, and nobody else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    Command, Evaluation, Event, EventKind, Monitor, Program, RecordState, Retry, Secret,
    Storage as _, WaitError,
};

use crate::support::{House, unavailable, within};

const VALUE: &str = "hunter2";

/// An engine that notes the values of the variables A and B, and fails as often as asked.
fn noting(failures: usize) -> (FakeEngine, Arc<Mutex<Vec<String>>>) {
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

/// Notes everything that events show: on the wire, in debug output, and what their evaluations reveal.
#[derive(Debug, Default)]
struct Curious(Mutex<String>);

impl Monitor for Curious {
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
async fn the_program_gets_them_at_every_attempt_and_nobody_else_does() {
    let (engine, seen) = noting(2);
    let house = House::with_engine(engine);
    let curious = Arc::new(Curious::default());
    let crucible = house.builder().monitor(Arc::clone(&curious)).build().unwrap();
    let handle = crucible.submit(evaluation()).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(*seen.lock().unwrap(), ["hunter2 hunter2"; 3]);
    let seen = curious.0.lock().unwrap().clone();
    assert!(seen.contains("finished") && !seen.contains(VALUE), "{seen}");
    let (record, journal) = house.sound(handle.id()).await;
    assert_eq!(record.evaluation.env["B"].reveal(), None);
    for text in
        [format!("{record:?}{journal:?}"), serde_json::to_string(&(record, journal)).unwrap()]
    {
        assert!(!text.contains(VALUE), "{text}");
    }
    assert!(!format!("{crucible:?}{handle:?}").contains(VALUE));
}

#[tokio::test(start_paused = true)]
async fn another_host_does_not_have_them_and_says_which() {
    let (engine, seen) = noting(0);
    let house = House::with_engine(engine);
    let accepting = house.build();
    let handle = accepting.submit(evaluation()).await.unwrap();
    // Its workers have not had a turn yet, and will not take anything now.
    drop(accepting);
    let working = house.build();
    match within(working.handle(handle.id()).outcome()).await {
        Err(WaitError::Failed { report, .. }) => {
            assert_eq!(report.kind, "secret_lost");
            assert!(report.message.contains("`A`"), "{report}");
            assert!(seen.lock().unwrap().is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        house.storage.record(handle.id()).await.unwrap().unwrap().state,
        RecordState::Failed
    );
}
