//! Cancellation at each point of an evaluation.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun, Fault, Faults, FaultyBus, FaultyStorage};
use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Evidence, KillReason, Priority, Queue as _, Record,
    RecordState, Signal, Storage as _, Ticket, Timestamp, Verdict, WorkerId,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engines::SlowOpenEngine;
use crate::support::{
    TestPlatform, command, ended, run_until_idle, until, within, within_real_time,
};

#[tokio::test(start_paused = true)]
async fn queued_evaluation_ends_at_once_on_cancel() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    let second = crucible.submit(command("exit 0")).await.unwrap();
    until(&first, "started").await;
    let started_at = Instant::now();
    assert!(second.cancel().await.unwrap());
    let outcome = within(second.outcome()).await.unwrap();
    assert_eq!(started_at.elapsed(), Duration::ZERO);
    assert_eq!(outcome.verdict(), &Verdict::Cancelled);
    assert_eq!(outcome.evidence(), [Evidence::CancelledBeforeStart]);
    assert_eq!(test.event_names(second.id()).await, ["submitted", "cancelled"]);
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0, "the ticket was removed");
    first.cancel().await.unwrap();
    within(first.outcome()).await.unwrap();
    assert_eq!(test.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn running_evaluation_is_killed_on_cancel() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let started_at = Instant::now();
    assert!(handle.cancel().await.unwrap());
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!((outcome.verdict(), started_at.elapsed()), (&Verdict::Cancelled, Duration::ZERO));
    assert_eq!(
        test.event_names(handle.id()).await,
        ["submitted", "started", "cancel_requested", "cancelled"]
    );
    let record = handle.status().await.unwrap();
    assert_eq!(
        (record.state, record.reason.as_deref()),
        (RecordState::Cancelled, Some("on request"))
    );
    run_until_idle().await;
    assert_eq!((test.engine.open_now(), crucible.stats().await.unwrap().queue.claimed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn second_cancel_has_no_further_effect() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let (first, second) = tokio::join!(handle.cancel(), handle.cancel());
    assert!(first.unwrap() && second.unwrap());
    within(handle.outcome()).await.unwrap();
    assert_eq!(
        test.event_names(handle.id()).await,
        ["submitted", "started", "cancel_requested", "cancelled"]
    );
}

#[tokio::test(start_paused = true)]
async fn ended_evaluation_ignores_cancel() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("exit 5")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    let (before, _) = test.verified(handle.id()).await;
    assert!(!handle.cancel().await.unwrap());
    assert_eq!(test.verified(handle.id()).await.0, before);
}

#[tokio::test(start_paused = true)]
async fn retry_pause_ends_at_once_on_cancel() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let minute = Duration::from_secs(60);
    let retry = crucible_core::Retry::default().with_backoff(minute, minute);
    let handle = crucible.submit(command("unavailable").with_retry(retry)).await.unwrap();
    until(&handle, "attempt_failed").await;
    let started_at = Instant::now();
    assert!(handle.cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(started_at.elapsed(), Duration::ZERO);
    run_until_idle().await;
    let queue = crucible.stats().await.unwrap().queue;
    assert_eq!((queue.ready, queue.delayed, queue.claimed), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn opening_sandbox_runs_nothing_after_cancel() {
    let test = TestPlatform::new();
    let opening = Arc::new(Notify::new());
    let engine = SlowOpenEngine { inner: test.engine.clone(), opening: Arc::clone(&opening) };
    let crucible = test.builder().engine("slow", engine).build().unwrap();
    let handle = crucible.submit(command("exit 0").with_engine("slow")).await.unwrap();
    within(opening.notified()).await;
    let started_at = Instant::now();
    assert!(handle.cancel().await.unwrap());
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!(outcome.evidence(), [Evidence::CancelledBeforeStart]);
    assert_eq!((started_at.elapsed(), test.engine.opened()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn local_run_is_killed_at_once_without_a_bus() {
    let test = TestPlatform::new();
    // The subscription succeeds; every later call to the bus fails.
    let faults = Faults::planned(|call| if call == 1 { Fault::None } else { Fault::Before });
    let crucible = test.builder().bus(FaultyBus::new(test.bus.clone(), faults)).build().unwrap();
    run_until_idle().await;
    let handle = crucible.submit(command("hang")).await.unwrap();
    run_until_idle().await;
    assert_eq!(test.engine.open_now(), 1);
    let started_at = Instant::now();
    assert!(handle.cancel().await.unwrap());
    run_until_idle().await;
    assert_eq!((test.engine.open_now(), started_at.elapsed()), (0, Duration::ZERO));
    assert_eq!(handle.status().await.unwrap().state, RecordState::Cancelled);
}

/// The host of the run is dead. The cancel request came before its lease expired.
#[tokio::test(start_paused = true)]
async fn cancel_request_survives_a_dead_worker() {
    let test = TestPlatform::new();
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: command("exit 0").into() };
    let mut events = vec![Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO)];
    let started = EventKind::Started {
        attempt: 1,
        worker: WorkerId::new("dead/0"),
        engine: "fake".to_owned(),
    };
    for kind in [started, EventKind::CancelRequested] {
        let record = Record::fold(&events).unwrap().unwrap();
        events.push(record.next(kind));
    }
    test.storage.append(id, 0, events).await.unwrap();
    test.queue.enqueue(Ticket::new(id, Priority::Normal, "")).await.unwrap();
    let crucible = test.build();
    assert_eq!(within(crucible.handle(id).outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    let expected = ["submitted", "started", "cancel_requested", "requeued", "cancelled"];
    assert_eq!((test.event_names(id).await, test.engine.opened()), (expected.to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn cancel_request_survives_a_failed_record_read() {
    let test = TestPlatform::new();
    // One of these failing calls is the read of the cancel request after the run.
    for call in 1..40 {
        let faults = Faults::nth(call, Fault::Before);
        let storage = FaultyStorage::new(Arc::clone(&test.storage), faults);
        let worker = test.builder().storage(storage).build().unwrap();
        let Ok(handle) = worker.submit(command("hang")).await else { continue };
        // This platform uses a storage without faults.
        let steady = test.builder().workers(1).build().unwrap();
        let handle = steady.handle(handle.id());
        until(&handle, "started").await;
        within(async { while !matches!(handle.cancel().await, Ok(true)) {} }).await;
        assert_eq!(ended(&handle).await, RecordState::Cancelled, "call {call}");
        let record = handle.status().await.unwrap();
        assert_eq!(record.reason.as_deref(), Some("on request"), "call {call}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_cancel_leaves_one_terminal_event() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(4).build().unwrap();
    for round in 0..200_u64 {
        let handle = crucible.submit(command("exit 0")).await.unwrap();
        let cancelling = tokio::spawn({
            let handle = handle.clone();
            async move {
                for _ in 0..round % 8 {
                    tokio::task::yield_now().await;
                }
                handle.cancel().await.unwrap()
            }
        });
        let outcome = within_real_time(handle.outcome()).await.unwrap();
        let asked = cancelling.await.unwrap();
        let (record, journal) = test.verified(handle.id()).await;
        assert_eq!(crate::support::terminal_events(&journal), 1);
        match record.state {
            // The request came after the program ended: the verdict is that of the program.
            RecordState::Finished => assert_eq!(outcome.verdict(), &Verdict::Exited { code: 0 }),
            RecordState::Cancelled => assert!(asked),
            state => panic!("{state}"),
        }
    }
}

/// An engine that reports a cancellation without a request has failed. The evaluation ends.
#[tokio::test(start_paused = true)]
async fn unrequested_cancellation_is_an_engine_failure() {
    for evidence in [
        Evidence::CancelledBeforeStart,
        Evidence::Killed {
            signal: Signal::KILL,
            reason: KillReason::Cancelled,
            after: Duration::ZERO,
        },
    ] {
        let test = TestPlatform::with_engine(FakeEngine::scripted(move |_| {
            FakeRun::evidence(vec![evidence.clone()])
        }));
        let crucible = test.build();
        let error = within(crucible.evaluate(command("exit 0"))).await.unwrap_err();
        assert!(
            crucible_core::error_chain(&error).contains("without a cancel request"),
            "{error:?}"
        );
    }
}
