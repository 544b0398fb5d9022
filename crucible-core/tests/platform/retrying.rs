//! Trying again where the infrastructure failed, and only there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{EngineError, Evaluation, EventKind, RecordState, Retry, WaitError};
use tokio::time::Instant;

use crate::support::{House, command, lost, settle, starts, unavailable, within};

/// An engine whose first so many runs fail.
fn flaky(failures: u32, error: fn() -> EngineError) -> FakeEngine {
    let runs = Arc::new(AtomicU32::new(0));
    FakeEngine::scripted(move |_| {
        if runs.fetch_add(1, Ordering::SeqCst) < failures {
            FakeRun::error(error)
        } else {
            FakeRun::exit(0)
        }
    })
}

fn retry() -> Retry {
    Retry::default().with_backoff(Duration::from_secs(1), Duration::from_secs(3))
}

async fn failure(house: &House, evaluation: Evaluation) -> (String, bool, usize) {
    let crucible = house.build();
    let handle = crucible.submit(evaluation).await.unwrap();
    match within(handle.outcome()).await {
        Err(WaitError::Failed { evaluation, report }) => {
            assert_eq!(evaluation, handle.id());
            let (record, journal) = house.sound(handle.id()).await;
            assert_eq!((record.state, record.error.as_ref()), (RecordState::Failed, Some(&report)));
            settle().await;
            let queue = crucible.stats().await.unwrap().queue;
            assert_eq!((queue.depth(), queue.claimed), (0, 0), "a dead letter has no ticket");
            (report.kind, report.started, starts(&journal))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_had_not_started_is_tried_again_after_growing_pauses() {
    let house = House::with_engine(flaky(3, unavailable));
    let crucible = house.build();
    let began = Instant::now();
    let handle = crucible.submit(command("x").with_retry(retry().with_attempts(4))).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(began.elapsed(), Duration::from_secs(1 + 2 + 3));
    let (record, journal) = house.sound(handle.id()).await;
    assert_eq!((record.state, record.attempt, starts(&journal)), (RecordState::Finished, 4, 4));
    let pauses: Vec<_> = journal
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::AttemptFailed { attempt, error, retry_in } => {
                assert_eq!((error.kind.as_str(), error.started), ("unavailable", false));
                Some((*attempt, retry_in.as_secs()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(pauses, [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_after_the_last_attempt() {
    let house = House::with_engine(flaky(3, unavailable));
    let given_up = failure(&house, command("x").with_retry(retry().with_attempts(3))).await;
    assert_eq!(given_up, ("unavailable".to_owned(), false, 3));
    let house = House::with_engine(flaky(1, unavailable));
    let given_up = failure(&house, command("x").with_retry(Retry::never())).await;
    assert_eq!(given_up, ("unavailable".to_owned(), false, 1));
}

#[tokio::test(start_paused = true)]
async fn what_had_started_is_not_run_twice() {
    let house = House::with_engine(flaky(1, lost));
    assert_eq!(
        failure(&house, command("x").with_retry(retry())).await,
        ("lost".to_owned(), true, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_run_twice_is() {
    let house = House::with_engine(flaky(2, lost));
    let crucible = house.build();
    let handle = crucible.submit(command("x").with_retry(retry().with_idempotent())).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(starts(&house.sound(handle.id()).await.1), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_succeed_is_not_tried_again() {
    let house = House::new();
    assert_eq!(
        failure(&house, command("closed").with_retry(retry())).await,
        ("closed".to_owned(), false, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_programs_own_failure_is_a_verdict_and_never_retried() {
    let house = House::new();
    let crucible = house.build();
    let handle =
        crucible.submit(command("exit 1").with_retry(retry().with_idempotent())).await.unwrap();
    assert!(!within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(house.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_up_nobody_else() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let slow = crucible.submit(command("unavailable").with_retry(retry())).await.unwrap();
    let began = Instant::now();
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(within(slow.outcome()).await.is_err());
}
