//! Leases: their renewal and their loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    EventKind, Queue as _, QueueError, RecordState, RequeueReason, Retry, Verdict, WaitError,
};
use tokio::time::Instant;

use crate::intercepted_queue::{InterceptedQueue, QueueIntercept, queue_unavailable};
use crate::support::{
    SECOND, TestPlatform, command, run_until_idle, started_events, terminal_events, until, within,
};

const LEASE: Duration = Duration::from_secs(3);

/// Returns an engine: the first run exits with 1 after 100 s, later runs exit with 2 immediately.
fn slow_then_fast() -> FakeEngine {
    let runs = Arc::new(AtomicU32::new(0));
    FakeEngine::scripted(move |_| match runs.fetch_add(1, Ordering::SeqCst) {
        0 => FakeRun::exit(1).with_delay(Duration::from_secs(100)),
        _ => FakeRun::exit(2),
    })
}

fn intercepted(
    test: &TestPlatform,
    intercept: fn(&'static str) -> QueueIntercept,
) -> InterceptedQueue {
    InterceptedQueue::new(&test.queue, intercept)
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_during_a_long_run() {
    let test = TestPlatform::new();
    let crucible = test.builder().lease(LEASE).build().unwrap();
    let handle = crucible.submit(command("sleep 100000")).await.unwrap();
    let started_at = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_at.elapsed(), Duration::from_secs(100));
    assert_eq!(test.event_names(handle.id()).await, ["submitted", "started", "finished"]);
}

#[tokio::test(start_paused = true)]
async fn lease_survives_failed_renewals() {
    let test = TestPlatform::new();
    // Two of three renewals fail.
    let calls = AtomicU32::new(0);
    let queue = InterceptedQueue::new(&test.queue, move |call| match call {
        "extend" if calls.fetch_add(1, Ordering::SeqCst) % 3 < 2 => {
            QueueIntercept::Return(Err(queue_unavailable()))
        }
        _ => QueueIntercept::PassThrough,
    });
    let crucible = test.builder().lease(LEASE).queue(queue).build().unwrap();
    let handle = crucible.submit(command("sleep 100000")).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_events(&test.verified(handle.id()).await.1), 1);
}

/// Asserts that a worker with a faulty queue ends its run before another worker can start one.
async fn assert_run_ends_in_time(intercept: fn(&'static str) -> QueueIntercept) {
    let test = TestPlatform::with_engine(slow_then_fast());
    let disconnected = test
        .builder()
        .workers(1)
        .lease(LEASE)
        .host("disconnected")
        .queue(intercepted(&test, intercept))
        .build()
        .unwrap();
    let handle = disconnected.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let started_at = Instant::now();
    let other = test.builder().workers(1).lease(LEASE).host("other").build().unwrap();
    tokio::time::sleep(LEASE - Duration::from_millis(100)).await;
    assert_eq!(test.engine.open_now(), 0, "the run ended before its lease");
    assert_eq!(
        within(other.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Exited { code: 2 }
    );
    assert_eq!(started_at.elapsed(), LEASE);
    let (record, journal) = test.verified(handle.id()).await;
    assert_eq!((record.attempt, terminal_events(&journal), test.engine.open_peak()), (2, 1, 1));
    let names: Vec<_> = journal.iter().map(|event| event.kind.name()).collect();
    assert_eq!(names, ["submitted", "started", "requeued", "started", "finished"]);
    assert!(matches!(
        journal[2].kind,
        EventKind::Requeued { attempt: 1, reason: RequeueReason::LeaseExpired }
    ));
    // The disconnected worker still processes its next evaluation.
    other.shutdown(SECOND).await;
    assert!(within(disconnected.evaluate(command("x"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn run_ends_before_an_unrenewable_lease_expires() {
    assert_run_ends_in_time(|call| {
        if call == "extend" {
            QueueIntercept::Return(Err(queue_unavailable()))
        } else {
            QueueIntercept::PassThrough
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn run_ends_before_lease_expires_if_queue_hangs() {
    assert_run_ends_in_time(|call| {
        if call == "extend" { QueueIntercept::Hang } else { QueueIntercept::PassThrough }
    })
    .await;
}

/// The first worker does not notice its lost lease, for example because its host was suspended.
#[tokio::test(start_paused = true)]
async fn result_after_a_lost_lease_is_dropped() {
    let test = TestPlatform::with_engine(slow_then_fast());
    let stale = intercepted(&test, |call| {
        if call == "extend" { QueueIntercept::Return(Ok(())) } else { QueueIntercept::PassThrough }
    });
    let old = test.builder().workers(1).lease(LEASE).host("old").queue(stale).build().unwrap();
    let handle = old.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let new = test.builder().workers(1).lease(LEASE).host("new").build().unwrap();
    let outcome = within(new.handle(handle.id()).outcome()).await.unwrap();
    assert_eq!(outcome.verdict(), &Verdict::Exited { code: 2 });
    let (before, _) = test.verified(handle.id()).await;
    assert_eq!(test.engine.open_now(), 1, "the old attempt still runs");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(test.engine.open_now(), 0, "the old attempt has ended");
    let (after, journal) = test.verified(handle.id()).await;
    assert_eq!(after, before, "the old attempt wrote nothing");
    assert_eq!(terminal_events(&journal), 1);
    assert_eq!(within(handle.outcome()).await.unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn result_is_dropped_while_the_next_attempt_runs() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        FakeRun::exit(1 + i32::try_from(run).unwrap()).with_delay(Duration::from_secs(10))
    });
    let test = TestPlatform::with_engine(engine);
    let stale = intercepted(&test, |call| {
        if call == "extend" { QueueIntercept::Return(Ok(())) } else { QueueIntercept::PassThrough }
    });
    let old = test.builder().workers(1).lease(LEASE).host("old").queue(stale).build().unwrap();
    let handle = old.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let _new = test.builder().workers(1).lease(LEASE).host("new").build().unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(
        handle.status().await.unwrap().state,
        RecordState::Running,
        "the old attempt has ended, the new one has not"
    );
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Exited { code: 2 });
    assert_eq!(terminal_events(&test.verified(handle.id()).await.1), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_expired_leases_make_a_dead_letter() {
    let test = TestPlatform::new();
    let disconnected = intercepted(&test, |call| {
        if call == "extend" {
            QueueIntercept::Return(Err(queue_unavailable()))
        } else {
            QueueIntercept::PassThrough
        }
    });
    let crucible =
        test.builder().lease(LEASE).max_expired_leases(3).queue(disconnected).build().unwrap();
    let evaluation =
        command("hang").with_retry(Retry::default().with_attempts(100).with_idempotent());
    let handle = crucible.submit(evaluation).await.unwrap();
    match within(handle.outcome()).await {
        Err(WaitError::Failed { report, .. }) => {
            assert_eq!(
                (report.kind.as_str(), report.message.as_str()),
                ("poison", "3 leases on this evaluation expired")
            );
        }
        other => panic!("{other:?}"),
    }
    let (record, journal) = test.verified(handle.id()).await;
    assert_eq!(
        (record.state, started_events(&journal), terminal_events(&journal)),
        (RecordState::Failed, 3, 1)
    );
    run_until_idle().await;
    let stats = test.queue.stats().await.unwrap();
    assert_eq!((stats.depth(), stats.claimed, test.engine.open_now()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn failed_settlement_is_retried() {
    for call in ["ack", "nack"] {
        let test = TestPlatform::new();
        let failures = AtomicU32::new(3);
        let queue = InterceptedQueue::new(&test.queue, move |name| {
            let fails = name == call
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            if fails {
                QueueIntercept::Return(Err(queue_unavailable()))
            } else {
                QueueIntercept::PassThrough
            }
        });
        let crucible = test.builder().queue(queue).build().unwrap();
        let started_at = Instant::now();
        let handle = crucible
            .submit(command(if call == "ack" { "exit 0" } else { "unavailable" }))
            .await
            .unwrap();
        let _ended = within(handle.outcome()).await;
        tokio::time::sleep(SECOND).await;
        let stats = test.queue.stats().await.unwrap();
        assert_eq!((stats.depth(), stats.claimed), (0, 0), "{call}");
        assert!(started_at.elapsed() < Duration::from_secs(5), "no lease expired");
        let (_, journal) = test.verified(handle.id()).await;
        assert!(
            !journal.iter().any(|event| event.kind.name() == "requeued"),
            "no lease counts as expired"
        );
    }
}

/// Of two workers in one process, the first notices late that the second runs its evaluation.
#[tokio::test(start_paused = true)]
async fn later_attempt_in_same_process_can_be_cancelled() {
    let test = TestPlatform::new();
    let first_is_stale = Arc::new(AtomicBool::new(true));
    let queue = InterceptedQueue::new(&test.queue, {
        let stale = Arc::clone(&first_is_stale);
        move |call| match call {
            "extend" if stale.load(Ordering::SeqCst) => QueueIntercept::Return(Ok(())),
            _ => QueueIntercept::PassThrough,
        }
    });
    let crucible = test.builder().workers(2).lease(LEASE).queue(queue).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "requeued").await;
    run_until_idle().await;
    assert_eq!(test.engine.open_now(), 2, "both attempts run");
    first_is_stale.store(false, Ordering::SeqCst);
    // The next renewal of the first worker fails, and that of the second succeeds.
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!((test.engine.open_now(), crucible.stats().await.unwrap().running), (1, 1));
    let started_at = Instant::now();
    assert!(handle.cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(started_at.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn removed_claim_ends_the_run() {
    let test = TestPlatform::new();
    let crucible = test.builder().lease(LEASE).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    assert!(test.queue.remove(handle.id()).await.unwrap());
    tokio::time::sleep(LEASE).await;
    assert_eq!(test.engine.open_now(), 0);
    let refused = test
        .queue
        .enqueue(crucible_core::Ticket::new(handle.id(), crucible_core::Priority::Normal, ""))
        .await;
    assert!(!matches!(refused, Err(QueueError::Duplicate { .. })), "the ticket was removed");
}
