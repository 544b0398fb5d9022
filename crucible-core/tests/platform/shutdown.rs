//! Stopping in good order.

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

use crate::engines::SlowToOpen;
use crate::support::{House, MINUTE, SECOND, command, starts, unavailable, until, within};

#[tokio::test(start_paused = true)]
async fn what_runs_ends_by_itself_and_what_waits_stays() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("sleep 5000")).await.unwrap();
    until(&running, "started").await;
    let waiting = crucible.submit(command("exit 0")).await.unwrap();
    let began = Instant::now();
    let waited = tokio::spawn({
        let waiting = waiting.clone();
        async move { waiting.outcome().await }
    });
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued), (0, Some(1)));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert!(within(running.outcome()).await.unwrap().is_success());
    let closed = within(waited).await.unwrap();
    assert!(
        matches!(closed, Err(WaitError::Closed { evaluation }) if evaluation == waiting.id()),
        "{closed:?}"
    );
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Queued);
    assert_eq!(house.engine.opened(), 1);
    // Another platform on the same backends goes on with it.
    let next = house.build();
    assert!(within(next.handle(waiting.id()).outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_ended() {
    let house = House::new();
    let crucible = house.build();
    let handles = [
        crucible.submit(command("hang")).await.unwrap(),
        crucible.submit(command("hang")).await.unwrap(),
    ];
    for handle in &handles {
        until(handle, "started").await;
    }
    let began = Instant::now();
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued, began.elapsed()), (2, Some(0), MINUTE));
    assert_eq!(house.engine.open_now(), 0);
    for handle in handles {
        // It had started, and may not run twice.
        assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
        let record = handle.status().await.unwrap();
        assert_eq!(
            (record.state, record.reason.as_deref()),
            (RecordState::Cancelled, Some("the platform was shut down"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_run_twice_goes_back_and_deliberate_stops_are_no_deaths() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        if runs.fetch_add(1, Ordering::SeqCst) < 5 { FakeRun::hang() } else { FakeRun::exit(0) }
    });
    let house = House::with_engine(engine);
    let evaluation = command("x").with_retry(Retry::default().with_idempotent());
    let handle = house.build().submit(evaluation).await.unwrap();
    let id = handle.id();
    // More often than workers may die over an evaluation.
    for stop in 1..=5 {
        let crucible = house.build();
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
    let crucible = house.build();
    assert!(within(crucible.handle(id).outcome()).await.unwrap().is_success());
    let (_, journal) = house.sound(id).await;
    let requeued = journal
        .iter()
        .filter(|event| {
            matches!(event.kind, EventKind::Requeued { reason: RequeueReason::Shutdown, .. })
        })
        .count();
    assert_eq!((requeued, starts(&journal)), (5, 6));
}

#[tokio::test(start_paused = true)]
async fn what_had_not_started_goes_back() {
    let house = House::new();
    let opening = Arc::new(Notify::new());
    let engine = SlowToOpen { inner: house.engine.clone(), opening: Arc::clone(&opening) };
    let crucible = house.builder().engine("slow", engine).build().unwrap();
    let handle = crucible.submit(command("exit 0").with_engine("slow")).await.unwrap();
    within(opening.notified()).await;
    let report = within(crucible.shutdown(SECOND)).await;
    assert_eq!((report.aborted, report.queued), (1, Some(1)));
    assert_eq!(house.names(handle.id()).await, ["submitted", "started", "requeued"]);
    let next = house.builder().engine("slow", FakeEngine::new()).build().unwrap();
    assert!(within(next.handle(handle.id()).outcome()).await.unwrap().is_success());
}

/// Ending it makes the engine fail: that is our doing, and no reason to give it up.
#[tokio::test(start_paused = true)]
async fn what_fails_before_it_had_started_because_it_is_ended_goes_back() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| match runs.fetch_add(1, Ordering::SeqCst) {
        0 => FakeRun::error(unavailable).with_delay(MINUTE),
        _ => FakeRun::exit(0),
    });
    let house = House::with_engine(engine);
    let crucible = house.build();
    let handle = crucible.submit(command("x").with_retry(Retry::never())).await.unwrap();
    until(&handle, "started").await;
    within(crucible.shutdown(SECOND)).await;
    assert_eq!(house.names(handle.id()).await, ["submitted", "started", "requeued"]);
    let next = house.build();
    assert!(within(next.handle(handle.id()).outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_or_taken_any_more() {
    let house = House::new();
    let crucible = house.build();
    let report = within(crucible.shutdown(MINUTE)).await;
    assert_eq!((report.aborted, report.queued), (0, Some(0)));
    assert!(matches!(crucible.submit(command("exit 0")).await, Err(SubmitError::Closed)));
    let other = house.build();
    within(other.shutdown(MINUTE)).await;
    let again = within(other.shutdown(MINUTE)).await;
    assert_eq!((again.aborted, again.queued), (0, Some(0)), "a second time does nothing");
    assert_eq!(house.queue.stats().await.unwrap().depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_an_evaluation_is_let_go() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("sleep 1000")).await.unwrap();
    until(&running, "started").await;
    let waiting = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    let following =
        tokio::spawn(waiting.events().map(|event| event.unwrap().kind.name()).collect::<Vec<_>>());
    within(crucible.shutdown(MINUTE)).await;
    assert_eq!(within(following).await.unwrap(), ["submitted"]);
    // A platform that is stopped ends nothing any more, an evaluation that has expired included.
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Queued);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_has_stopped_the_platform() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let given_up = tokio::time::timeout(SECOND, crucible.shutdown(MINUTE)).await;
    assert!(given_up.is_err());
    assert!(matches!(crucible.submit(command("exit 0")).await, Err(SubmitError::Closed)));
    assert_eq!(house.engine.open_now(), 1, "what runs still runs");
    drop(crucible);
    assert!(within(handle.outcome()).await.is_ok());
    assert_eq!(house.engine.open_now(), 0);
}
