//! The shutdown of a platform.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    EventKind, Queue as _, RecordState, RequeueReason, Retry, SubmitError, Verdict, WaitError,
};
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engines::SlowOpenEngine;
use crate::support::{
    MINUTE, SECOND, TestPlatform, command, started_events, unavailable, until, within,
};

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_runs_and_keeps_queued_tickets() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("sleep 5000")).await.unwrap();
    until(&running, "started").await;
    let waiting = crucible.submit(command("exit 0")).await.unwrap();
    let started_at = Instant::now();
    let waited = tokio::spawn({
        let waiting = waiting.clone();
        async move { waiting.outcome().await }
    });
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued), (0, Some(1)));
    assert_eq!(started_at.elapsed(), Duration::from_secs(5));
    assert!(within(running.outcome()).await.unwrap().is_success());
    let closed = within(waited).await.unwrap();
    assert!(
        matches!(closed, Err(WaitError::Closed { evaluation }) if evaluation == waiting.id()),
        "{closed:?}"
    );
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Queued);
    assert_eq!(test.engine.opened(), 1);
    // Another platform on the same backends runs the queued evaluation.
    let next = test.build();
    assert!(within(next.handle(waiting.id()).outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn shutdown_aborts_runs_after_the_grace_period() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handles = [
        crucible.submit(command("hang")).await.unwrap(),
        crucible.submit(command("hang")).await.unwrap(),
    ];
    for handle in &handles {
        until(handle, "started").await;
    }
    let started_at = Instant::now();
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued, started_at.elapsed()), (2, Some(0), MINUTE));
    assert_eq!(test.engine.open_now(), 0);
    for handle in handles {
        // The program had started and may not run twice.
        assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
        let record = handle.status().await.unwrap();
        assert_eq!(
            (record.state, record.reason.as_deref()),
            (RecordState::Cancelled, Some("the platform was shut down"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_requeue_does_not_count_as_expired_lease() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        if runs.fetch_add(1, Ordering::SeqCst) < 5 { FakeRun::hang() } else { FakeRun::exit(0) }
    });
    let test = TestPlatform::with_engine(engine);
    let evaluation = command("x").with_retry(Retry::default().with_idempotent());
    let handle = test.build().submit(evaluation).await.unwrap();
    let id = handle.id();
    // More shutdowns than the limit of expired leases.
    for stop in 1..=5 {
        let crucible = test.build();
        let handle = crucible.handle(id);
        within(async {
            while handle.status().await.unwrap().state != RecordState::Running {
                tokio::time::sleep(SECOND).await;
            }
        })
        .await;
        let report = within(crucible.shutdown(SECOND)).await;
        assert_eq!((report.aborted, report.queued), (1, Some(1)), "stop {stop}");
        assert!(matches!(within(handle.outcome()).await, Err(WaitError::Closed { .. })));
    }
    let crucible = test.build();
    assert!(within(crucible.handle(id).outcome()).await.unwrap().is_success());
    let (_, journal) = test.verified(id).await;
    let requeued = journal
        .iter()
        .filter(|event| {
            matches!(event.kind, EventKind::Requeued { reason: RequeueReason::Shutdown, .. })
        })
        .count();
    assert_eq!((requeued, started_events(&journal)), (5, 6));
}

#[tokio::test(start_paused = true)]
async fn shutdown_requeues_an_unstarted_run() {
    let test = TestPlatform::new();
    let opening = Arc::new(Notify::new());
    let engine = SlowOpenEngine { inner: test.engine.clone(), opening: Arc::clone(&opening) };
    let crucible = test.builder().engine("slow", engine).build().unwrap();
    let handle = crucible.submit(command("exit 0").with_engine("slow")).await.unwrap();
    within(opening.notified()).await;
    let report = within(crucible.shutdown(SECOND)).await;
    assert_eq!((report.aborted, report.queued), (1, Some(1)));
    assert_eq!(test.event_names(handle.id()).await, ["submitted", "started", "requeued"]);
    let next = test.builder().engine("slow", FakeEngine::new()).build().unwrap();
    assert!(within(next.handle(handle.id()).outcome()).await.unwrap().is_success());
}

/// The shutdown makes the engine fail. The evaluation must not fail because of that.
#[tokio::test(start_paused = true)]
async fn shutdown_requeues_a_run_that_fails_to_start() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| match runs.fetch_add(1, Ordering::SeqCst) {
        0 => FakeRun::error(unavailable).with_delay(MINUTE),
        _ => FakeRun::exit(0),
    });
    let test = TestPlatform::with_engine(engine);
    let crucible = test.build();
    let handle = crucible.submit(command("x").with_retry(Retry::never())).await.unwrap();
    until(&handle, "started").await;
    within(crucible.shutdown(SECOND)).await;
    assert_eq!(test.event_names(handle.id()).await, ["submitted", "started", "requeued"]);
    let next = test.build();
    assert!(within(next.handle(handle.id()).outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn shutdown_platform_accepts_nothing() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued), (0, Some(0)));
    assert!(matches!(crucible.submit(command("exit 0")).await, Err(SubmitError::Closed)));
    let other = test.build();
    within(other.shutdown(MINUTE)).await;
    let again = within(other.shutdown(MINUTE)).await;
    assert_eq!((again.aborted, again.queued), (0, Some(0)), "a second shutdown has no effect");
    assert_eq!(test.queue.stats().await.unwrap().depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_event_streams() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("sleep 1000")).await.unwrap();
    until(&running, "started").await;
    let waiting = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    let following =
        tokio::spawn(waiting.events().map(|event| event.unwrap().kind.name()).collect::<Vec<_>>());
    within(crucible.shutdown(MINUTE)).await;
    assert_eq!(within(following).await.unwrap(), ["submitted"]);
    // A stopped platform does not expire evaluations.
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Queued);
}

#[tokio::test(start_paused = true)]
async fn dropped_shutdown_has_stopped_the_platform() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let dropped = tokio::time::timeout(SECOND, crucible.shutdown(MINUTE)).await;
    assert!(dropped.is_err());
    assert!(matches!(crucible.submit(command("exit 0")).await, Err(SubmitError::Closed)));
    assert_eq!(test.engine.open_now(), 1, "the program still runs");
    drop(crucible);
    assert!(within(handle.outcome()).await.is_ok());
    assert_eq!(test.engine.open_now(), 0);
}
