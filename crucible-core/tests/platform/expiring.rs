//! Evaluations that nobody takes in time.

use std::time::Duration;

use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Priority, Queue as _, RecordState, Storage as _,
    StorageError, Ticket, Timestamp, WaitError,
};
use tokio::time::Instant;

use crate::support::{House, MINUTE, SECOND, command, settle, until, within};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

#[tokio::test(start_paused = true)]
async fn one_that_waits_too_long_ends_in_time() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    until(&first, "started").await;
    let began = Instant::now();
    let later = crucible.submit(command("exit 0").with_expires_in(MINUTE * 2)).await.unwrap();
    let sooner = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    for (handle, after) in [(sooner, MINUTE), (later, MINUTE * 2)] {
        assert!(
            matches!(within(handle.outcome()).await, Err(WaitError::Expired { evaluation }) if evaluation == handle.id())
        );
        assert_eq!(began.elapsed(), after);
        assert_eq!(house.names(handle.id()).await, ["submitted", "expired"]);
    }
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0, "the tickets are gone");
    assert_eq!(house.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_taken_in_time_does_not_expire() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("sleep 120000").with_expires_in(MINUTE)).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    // Nor while it waits to be tried again.
    let backoff =
        crucible_core::Retry::default().with_attempts(2).with_backoff(MINUTE * 2, MINUTE * 2);
    let retried = command("unavailable").with_retry(backoff).with_expires_in(MINUTE);
    let handle = crucible.submit(retried).await.unwrap();
    assert!(matches!(within(handle.outcome()).await, Err(WaitError::Failed { .. })));
    let expected = ["submitted", "started", "attempt_failed", "started", "failed"];
    assert_eq!(house.names(handle.id()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_away_at_that_moment_is_asked_again() {
    let house = House::new();
    let began = Instant::now();
    let storage = TamperedStorage::new(&house.storage, move |call| {
        let away = (MINUTE..MINUTE + 5 * SECOND).contains(&began.elapsed());
        if away && matches!(call, Call::Record) {
            return Tampered::Fails(StorageError::Unavailable {
                source: "the network is down".into(),
            });
        }
        Tampered::Nothing
    });
    let crucible = house.builder().workers(1).storage(storage).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    settle().await;
    let handle = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    assert_eq!(house.ended(handle.id()).await, RecordState::Expired);
    assert!(began.elapsed() < MINUTE + 7 * SECOND, "{:?}", began.elapsed());
    assert_eq!(
        house.storage.record(first.id()).await.unwrap().unwrap().state,
        RecordState::Running
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_too_late_ends_it() {
    let house = House::new();
    // As another host left it, long ago.
    let id = EvaluationId::new();
    let evaluation = command("exit 0").with_expires_in(Duration::from_secs(1));
    let long_ago = Timestamp::from_micros(Timestamp::now().as_micros() - 2_000_000);
    let kind = EventKind::Submitted { evaluation: evaluation.into() };
    let submitted = Event::sealed(id, 1, long_ago, kind, Digest::ZERO);
    house.storage.append(id, 0, vec![submitted]).await.unwrap();
    house.queue.enqueue(Ticket::new(id, Priority::Normal, "")).await.unwrap();
    let crucible = house.build();
    let handle = crucible.handle(id);
    assert!(matches!(within(handle.outcome()).await, Err(WaitError::Expired { .. })));
    assert_eq!(
        (handle.status().await.unwrap().state, house.engine.opened()),
        (RecordState::Expired, 0)
    );
    settle().await;
    assert_eq!(crucible.stats().await.unwrap().queue.claimed, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_to_expire_costs_no_task() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    within(crucible.evaluate(command("exit 0"))).await.unwrap();
    let before = tasks();
    for _ in 0..50 {
        within(crucible.evaluate(command("exit 0").with_expires_in(MINUTE * 1000))).await.unwrap();
    }
    settle().await;
    assert_eq!(tasks(), before);
}
