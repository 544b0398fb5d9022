//! Evaluations that no worker starts in time.

use std::time::Duration;

use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Priority, Queue as _, RecordState, Storage as _,
    StorageError, Ticket, Timestamp, WaitError,
};
use tokio::time::Instant;

use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{MINUTE, SECOND, TestPlatform, command, run_until_idle, until, within};

#[tokio::test(start_paused = true)]
async fn queued_evaluation_expires_in_time() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    until(&first, "started").await;
    let started_at = Instant::now();
    let later = crucible.submit(command("exit 0").with_expires_in(MINUTE * 2)).await.unwrap();
    let sooner = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    for (handle, after) in [(sooner, MINUTE), (later, MINUTE * 2)] {
        let Err(WaitError::Expired { evaluation }) = within(handle.outcome()).await else {
            panic!("the evaluation did not expire");
        };
        assert_eq!(evaluation, handle.id());
        assert_eq!(started_at.elapsed(), after);
        assert_eq!(test.event_names(handle.id()).await, ["submitted", "expired"]);
    }
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0, "the tickets were removed");
    assert_eq!(test.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn started_evaluation_does_not_expire() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("sleep 120000").with_expires_in(MINUTE)).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    // It also does not expire during the pause before a retry.
    let backoff =
        crucible_core::Retry::default().with_attempts(2).with_backoff(MINUTE * 2, MINUTE * 2);
    let retried = command("unavailable").with_retry(backoff).with_expires_in(MINUTE);
    let handle = crucible.submit(retried).await.unwrap();
    assert!(matches!(within(handle.outcome()).await, Err(WaitError::Failed { .. })));
    let expected = ["submitted", "started", "attempt_failed", "started", "failed"];
    assert_eq!(test.event_names(handle.id()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn expiry_is_retried_while_storage_is_unavailable() {
    let test = TestPlatform::new();
    let started_at = Instant::now();
    let storage = InterceptedStorage::new(&test.storage, move |call| {
        let away = (MINUTE..MINUTE + 5 * SECOND).contains(&started_at.elapsed());
        if away && matches!(call, StorageCall::Record) {
            return StorageIntercept::Fail(StorageError::Unavailable {
                source: "the network is down".into(),
            });
        }
        StorageIntercept::PassThrough
    });
    let crucible = test.builder().workers(1).storage(storage).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    run_until_idle().await;
    let handle = crucible.submit(command("exit 0").with_expires_in(MINUTE)).await.unwrap();
    assert_eq!(test.ended(handle.id()).await, RecordState::Expired);
    assert!(started_at.elapsed() < MINUTE + 7 * SECOND, "{:?}", started_at.elapsed());
    assert_eq!(test.storage.record(first.id()).await.unwrap().unwrap().state, RecordState::Running);
}

#[tokio::test(start_paused = true)]
async fn late_worker_ends_an_expired_evaluation() {
    let test = TestPlatform::new();
    // Another host stored the evaluation two seconds ago.
    let id = EvaluationId::new();
    let evaluation = command("exit 0").with_expires_in(Duration::from_secs(1));
    let long_ago = Timestamp::from_micros(Timestamp::now().as_micros() - 2_000_000);
    let kind = EventKind::Submitted { evaluation: evaluation.into() };
    let submitted = Event::sealed(id, 1, long_ago, kind, Digest::ZERO);
    test.storage.append(id, 0, vec![submitted]).await.unwrap();
    test.queue.enqueue(Ticket::new(id, Priority::Normal, "")).await.unwrap();
    let crucible = test.build();
    let handle = crucible.handle(id);
    assert!(matches!(within(handle.outcome()).await, Err(WaitError::Expired { .. })));
    assert_eq!(
        (handle.status().await.unwrap().state, test.engine.opened()),
        (RecordState::Expired, 0)
    );
    run_until_idle().await;
    assert_eq!(crucible.stats().await.unwrap().queue.claimed, 0);
}

#[tokio::test(start_paused = true)]
async fn pending_expiry_uses_no_task() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    within(crucible.evaluate(command("exit 0"))).await.unwrap();
    let before = tasks();
    for _ in 0..50 {
        within(crucible.evaluate(command("exit 0").with_expires_in(MINUTE * 1000))).await.unwrap();
    }
    run_until_idle().await;
    assert_eq!(tasks(), before);
}
