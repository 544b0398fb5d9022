//! Retries after infrastructure failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{EngineError, Evaluation, EventKind, RecordState, Retry, WaitError};
use tokio::time::Instant;

use crate::support::{
    TestPlatform, command, lost, run_until_idle, started_events, unavailable, within,
};

/// Returns an engine that fails its first runs.
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

async fn failure(test: &TestPlatform, evaluation: Evaluation) -> (String, bool, usize) {
    let crucible = test.build();
    let handle = crucible.submit(evaluation).await.unwrap();
    match within(handle.outcome()).await {
        Err(WaitError::Failed { evaluation, report }) => {
            assert_eq!(evaluation, handle.id());
            let (record, journal) = test.verified(handle.id()).await;
            assert_eq!((record.state, record.error.as_ref()), (RecordState::Failed, Some(&report)));
            run_until_idle().await;
            let queue = crucible.stats().await.unwrap().queue;
            assert_eq!((queue.depth(), queue.claimed), (0, 0), "a dead letter has no ticket");
            (report.kind, report.started, started_events(&journal))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unstarted_run_is_retried_with_growing_pauses() {
    let test = TestPlatform::with_engine(flaky(3, unavailable));
    let crucible = test.build();
    let started_at = Instant::now();
    let handle = crucible.submit(command("x").with_retry(retry().with_attempts(4))).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_at.elapsed(), Duration::from_secs(1 + 2 + 3));
    let (record, journal) = test.verified(handle.id()).await;
    assert_eq!(
        (record.state, record.attempt, started_events(&journal)),
        (RecordState::Finished, 4, 4)
    );
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
async fn evaluation_fails_after_the_last_attempt() {
    let test = TestPlatform::with_engine(flaky(3, unavailable));
    let failed = failure(&test, command("x").with_retry(retry().with_attempts(3))).await;
    assert_eq!(failed, ("unavailable".to_owned(), false, 3));
    let test = TestPlatform::with_engine(flaky(1, unavailable));
    let failed = failure(&test, command("x").with_retry(Retry::never())).await;
    assert_eq!(failed, ("unavailable".to_owned(), false, 1));
}

#[tokio::test(start_paused = true)]
async fn started_run_is_not_retried() {
    let test = TestPlatform::with_engine(flaky(1, lost));
    assert_eq!(
        failure(&test, command("x").with_retry(retry())).await,
        ("lost".to_owned(), true, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn idempotent_run_is_retried() {
    let test = TestPlatform::with_engine(flaky(2, lost));
    let crucible = test.build();
    let handle = crucible.submit(command("x").with_retry(retry().with_idempotent())).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_events(&test.verified(handle.id()).await.1), 3);
}

#[tokio::test(start_paused = true)]
async fn permanent_error_is_not_retried() {
    let test = TestPlatform::new();
    assert_eq!(
        failure(&test, command("closed").with_retry(retry())).await,
        ("closed".to_owned(), false, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn program_failure_is_not_retried() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle =
        crucible.submit(command("exit 1").with_retry(retry().with_idempotent())).await.unwrap();
    assert!(!within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(test.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_pause_does_not_block_the_worker() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let slow = crucible.submit(command("unavailable").with_retry(retry())).await.unwrap();
    let started_at = Instant::now();
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
    assert_eq!(started_at.elapsed(), Duration::ZERO);
    assert!(within(slow.outcome()).await.is_err());
}
