//! Cancelling, at whatever point.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun, Fault, Faults, FaultyBus, FaultyStorage};
use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Evidence, KillReason, Priority, Queue as _, Record,
    RecordState, Signal, Storage as _, Ticket, Timestamp, Verdict, WorkerId,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engines::SlowToOpen;
use crate::support::{House, command, ended, settle, soon, until, within};

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_ended_at_once_and_never_runs() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    let second = crucible.submit(command("exit 0")).await.unwrap();
    until(&first, "started").await;
    let began = Instant::now();
    assert!(second.cancel().await.unwrap());
    let outcome = within(second.outcome()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(outcome.verdict(), &Verdict::Cancelled);
    assert_eq!(outcome.evidence(), [Evidence::CancelledBeforeStart]);
    assert_eq!(house.names(second.id()).await, ["submitted", "cancelled"]);
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0, "its ticket is gone");
    first.cancel().await.unwrap();
    within(first.outcome()).await.unwrap();
    assert_eq!(house.engine.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_is_killed() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let began = Instant::now();
    assert!(handle.cancel().await.unwrap());
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!((outcome.verdict(), began.elapsed()), (&Verdict::Cancelled, Duration::ZERO));
    assert_eq!(
        house.names(handle.id()).await,
        ["submitted", "started", "cancel_requested", "cancelled"]
    );
    let record = handle.status().await.unwrap();
    assert_eq!(
        (record.state, record.reason.as_deref()),
        (RecordState::Cancelled, Some("on request"))
    );
    settle().await;
    assert_eq!((house.engine.open_now(), crucible.stats().await.unwrap().queue.claimed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn asking_twice_is_asking_once() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let (first, second) = tokio::join!(handle.cancel(), handle.cancel());
    assert!(first.unwrap() && second.unwrap());
    within(handle.outcome()).await.unwrap();
    assert_eq!(
        house.names(handle.id()).await,
        ["submitted", "started", "cancel_requested", "cancelled"]
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_has_ended_stays_as_it_is() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("exit 5")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    let (before, _) = house.sound(handle.id()).await;
    assert!(!handle.cancel().await.unwrap());
    assert_eq!(house.sound(handle.id()).await.0, before);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_to_be_tried_again_is_ended_at_once() {
    let house = House::new();
    let crucible = house.build();
    let minute = Duration::from_secs(60);
    let retry = crucible_core::Retry::default().with_backoff(minute, minute);
    let handle = crucible.submit(command("unavailable").with_retry(retry)).await.unwrap();
    until(&handle, "attempt_failed").await;
    let began = Instant::now();
    assert!(handle.cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(began.elapsed(), Duration::ZERO);
    settle().await;
    let queue = crucible.stats().await.unwrap().queue;
    assert_eq!((queue.ready, queue.delayed, queue.claimed), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_about_to_start_never_runs() {
    let house = House::new();
    let opening = Arc::new(Notify::new());
    let engine = SlowToOpen { inner: house.engine.clone(), opening: Arc::clone(&opening) };
    let crucible = house.builder().engine("slow", engine).build().unwrap();
    let handle = crucible.submit(command("exit 0").with_engine("slow")).await.unwrap();
    within(opening.notified()).await;
    let began = Instant::now();
    assert!(handle.cancel().await.unwrap());
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!(outcome.evidence(), [Evidence::CancelledBeforeStart]);
    assert_eq!((began.elapsed(), house.engine.opened()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_here_is_killed_at_once_also_without_a_bus() {
    let house = House::new();
    // The platform hears of requests; whatever it says is lost.
    let faults = Faults::planned(|call| if call == 1 { Fault::None } else { Fault::Before });
    let crucible = house.builder().bus(FaultyBus::new(house.bus.clone(), faults)).build().unwrap();
    settle().await;
    let handle = crucible.submit(command("hang")).await.unwrap();
    settle().await;
    assert_eq!(house.engine.open_now(), 1);
    let began = Instant::now();
    assert!(handle.cancel().await.unwrap());
    settle().await;
    assert_eq!((house.engine.open_now(), began.elapsed()), (0, Duration::ZERO));
    assert_eq!(handle.status().await.unwrap().state, RecordState::Cancelled);
}

/// The host that ran it is dead, and was asked to cancel before anybody noticed.
#[tokio::test(start_paused = true)]
async fn one_whose_worker_died_after_the_request_is_not_run_again() {
    let house = House::new();
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
    house.storage.append(id, 0, events).await.unwrap();
    house.queue.enqueue(Ticket::new(id, Priority::Normal, "")).await.unwrap();
    let crucible = house.build();
    assert_eq!(within(crucible.handle(id).outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    let expected = ["submitted", "started", "cancel_requested", "requeued", "cancelled"];
    assert_eq!((house.names(id).await, house.engine.opened()), (expected.to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_honoured_although_the_storage_cannot_be_asked_for_it() {
    let house = House::new();
    // Finds the call with which the worker, after the run, looks whether somebody asked: any of these fails once.
    for call in 1..40 {
        let faults = Faults::nth(call, Fault::Before);
        let storage = FaultyStorage::new(Arc::clone(&house.storage), faults);
        let worker = house.builder().storage(storage).build().unwrap();
        let Ok(handle) = worker.submit(command("hang")).await else { continue };
        // A handle of a platform whose storage does not fail.
        let steady = house.builder().workers(1).build().unwrap();
        let handle = steady.handle(handle.id());
        until(&handle, "started").await;
        within(async { while !matches!(handle.cancel().await, Ok(true)) {} }).await;
        assert_eq!(ended(&handle).await, RecordState::Cancelled, "call {call}");
        let record = handle.status().await.unwrap();
        assert_eq!(record.reason.as_deref(), Some("on request"), "call {call}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelling_races_with_everything_and_there_is_one_end() {
    let house = House::new();
    let crucible = house.builder().workers(4).build().unwrap();
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
        let outcome = soon(handle.outcome()).await.unwrap();
        let asked = cancelling.await.unwrap();
        let (record, journal) = house.sound(handle.id()).await;
        assert_eq!(crate::support::endings(&journal), 1);
        match record.state {
            // A request that came too late to stop the program is in the journal, and the verdict is the true one.
            RecordState::Finished => assert_eq!(outcome.verdict(), &Verdict::Exited { code: 0 }),
            RecordState::Cancelled => assert!(asked),
            state => panic!("{state}"),
        }
    }
}

/// An engine that says so when nobody has asked has failed; the evaluation does not run for ever because of it.
#[tokio::test(start_paused = true)]
async fn a_run_that_was_cancelled_by_nobody_is_an_engines_failure() {
    for evidence in [
        Evidence::CancelledBeforeStart,
        Evidence::Killed {
            signal: Signal::KILL,
            reason: KillReason::Cancelled,
            after: Duration::ZERO,
        },
    ] {
        let house = House::with_engine(FakeEngine::scripted(move |_| {
            FakeRun::evidence(vec![evidence.clone()])
        }));
        let crucible = house.build();
        let error = within(crucible.evaluate(command("exit 0"))).await.unwrap_err();
        assert!(
            crucible_core::error_chain(&error).contains("without a cancel request"),
            "{error:?}"
        );
    }
}
