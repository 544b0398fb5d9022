//! Leases: kept while the work lasts, lost with the right to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    EventKind, Queue as _, QueueError, RecordState, RequeueReason, Retry, Verdict, WaitError,
};
use tokio::time::Instant;

use crate::support::{House, SECOND, command, endings, settle, starts, until, within};
use crate::tampered_queue::{Instead, TamperedQueue, away};

const LEASE: Duration = Duration::from_secs(3);

/// An engine whose first run takes a hundred seconds and exits with 1, and whose second exits with 2 at once.
fn slow_then_fast() -> FakeEngine {
    let runs = Arc::new(AtomicU32::new(0));
    FakeEngine::scripted(move |_| match runs.fetch_add(1, Ordering::SeqCst) {
        0 => FakeRun::exit(1).with_delay(Duration::from_secs(100)),
        _ => FakeRun::exit(2),
    })
}

fn tampered(house: &House, tamper: fn(&'static str) -> Instead) -> TamperedQueue {
    TamperedQueue::new(&house.queue, tamper)
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_as_long_as_the_work_lasts() {
    let house = House::new();
    let crucible = house.builder().lease(LEASE).build().unwrap();
    let handle = crucible.submit(command("sleep 100000")).await.unwrap();
    let began = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(began.elapsed(), Duration::from_secs(100));
    assert_eq!(house.names(handle.id()).await, ["submitted", "started", "finished"]);
}

#[tokio::test(start_paused = true)]
async fn a_few_renewals_may_fail() {
    let house = House::new();
    // Of the renewals of each lease, all but every third fail.
    let calls = AtomicU32::new(0);
    let queue = TamperedQueue::new(&house.queue, move |call| match call {
        "extend" if calls.fetch_add(1, Ordering::SeqCst) % 3 < 2 => Instead::Answer(Err(away())),
        _ => Instead::Nothing,
    });
    let crucible = house.builder().lease(LEASE).queue(queue).build().unwrap();
    let handle = crucible.submit(command("sleep 100000")).await.unwrap();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(starts(&house.sound(handle.id()).await.1), 1);
}

/// The worker of a queue that cannot be reached gives its run up before another can begin, in time for the run to end.
async fn is_given_up_in_time(tamper: fn(&'static str) -> Instead) {
    let house = House::with_engine(slow_then_fast());
    let cut_off = house
        .builder()
        .workers(1)
        .lease(LEASE)
        .host("cut-off")
        .queue(tampered(&house, tamper))
        .build()
        .unwrap();
    let handle = cut_off.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let began = Instant::now();
    let other = house.builder().workers(1).lease(LEASE).host("other").build().unwrap();
    tokio::time::sleep(LEASE - Duration::from_millis(100)).await;
    assert_eq!(house.engine.open_now(), 0, "the run was ended before its lease did");
    assert_eq!(
        within(other.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Exited { code: 2 }
    );
    assert_eq!(began.elapsed(), LEASE);
    let (record, journal) = house.sound(handle.id()).await;
    assert_eq!((record.attempt, endings(&journal), house.engine.open_peak()), (2, 1, 1));
    let names: Vec<_> = journal.iter().map(|event| event.kind.name()).collect();
    assert_eq!(names, ["submitted", "started", "requeued", "started", "finished"]);
    assert!(matches!(
        journal[2].kind,
        EventKind::Requeued { attempt: 1, reason: RequeueReason::LeaseExpired }
    ));
    // The worker that was cut off is there for the next.
    other.shutdown(SECOND).await;
    assert!(within(cut_off.evaluate(command("x"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lease_cannot_be_renewed_is_given_up_in_time() {
    is_given_up_in_time(|call| {
        if call == "extend" { Instead::Answer(Err(away())) } else { Instead::Nothing }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_queue_does_not_answer_is_given_up_in_time() {
    is_given_up_in_time(|call| if call == "extend" { Instead::Hang } else { Instead::Nothing })
        .await;
}

/// A worker that does not notice that its lease is gone: the clock of its host stood still, say.
#[tokio::test(start_paused = true)]
async fn the_result_of_who_lost_the_lease_is_dropped() {
    let house = House::with_engine(slow_then_fast());
    let unaware =
        tampered(
            &house,
            |call| if call == "extend" { Instead::Answer(Ok(())) } else { Instead::Nothing },
        );
    let old = house.builder().workers(1).lease(LEASE).host("old").queue(unaware).build().unwrap();
    let handle = old.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let new = house.builder().workers(1).lease(LEASE).host("new").build().unwrap();
    let outcome = within(new.handle(handle.id()).outcome()).await.unwrap();
    assert_eq!(outcome.verdict(), &Verdict::Exited { code: 2 });
    let (before, _) = house.sound(handle.id()).await;
    assert_eq!(house.engine.open_now(), 1, "the old one still runs");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(house.engine.open_now(), 0, "it has ended now");
    let (after, journal) = house.sound(handle.id()).await;
    assert_eq!(after, before, "and nothing came of it");
    assert_eq!(endings(&journal), 1);
    assert_eq!(within(handle.outcome()).await.unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn the_result_is_dropped_also_while_the_new_holder_runs() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        FakeRun::exit(1 + i32::try_from(run).unwrap()).with_delay(Duration::from_secs(10))
    });
    let house = House::with_engine(engine);
    let unaware =
        tampered(
            &house,
            |call| if call == "extend" { Instead::Answer(Ok(())) } else { Instead::Nothing },
        );
    let old = house.builder().workers(1).lease(LEASE).host("old").queue(unaware).build().unwrap();
    let handle = old.submit(command("x")).await.unwrap();
    until(&handle, "started").await;
    let _new = house.builder().workers(1).lease(LEASE).host("new").build().unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(
        handle.status().await.unwrap().state,
        RecordState::Running,
        "the old one has ended, the new one has not"
    );
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Exited { code: 2 });
    assert_eq!(endings(&house.sound(handle.id()).await.1), 1);
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_over_which_workers_die_is_a_dead_letter() {
    let house = House::new();
    let cut_off = tampered(&house, |call| {
        if call == "extend" { Instead::Answer(Err(away())) } else { Instead::Nothing }
    });
    let crucible =
        house.builder().lease(LEASE).max_expired_leases(3).queue(cut_off).build().unwrap();
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
    let (record, journal) = house.sound(handle.id()).await;
    assert_eq!((record.state, starts(&journal), endings(&journal)), (RecordState::Failed, 3, 1));
    settle().await;
    let stats = house.queue.stats().await.unwrap();
    assert_eq!((stats.depth(), stats.claimed, house.engine.open_now()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_cannot_be_settled_at_once_is_settled_soon() {
    for call in ["ack", "nack"] {
        let house = House::new();
        let failures = AtomicU32::new(3);
        let queue = TamperedQueue::new(&house.queue, move |name| {
            let fails = name == call
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            if fails { Instead::Answer(Err(away())) } else { Instead::Nothing }
        });
        let crucible = house.builder().queue(queue).build().unwrap();
        let began = Instant::now();
        let handle = crucible
            .submit(command(if call == "ack" { "exit 0" } else { "unavailable" }))
            .await
            .unwrap();
        let _ended = within(handle.outcome()).await;
        tokio::time::sleep(SECOND).await;
        let stats = house.queue.stats().await.unwrap();
        assert_eq!((stats.depth(), stats.claimed), (0, 0), "{call}");
        assert!(began.elapsed() < Duration::from_secs(5), "no lease had to run out");
        let (_, journal) = house.sound(handle.id()).await;
        assert!(
            !journal.iter().any(|event| event.kind.name() == "requeued"),
            "and nobody counts as dead"
        );
    }
}

/// Two workers of one process, the first of which notices late that the second has its evaluation.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_in_the_same_process_can_be_cancelled_at_once() {
    let house = House::new();
    let first_is_unaware = Arc::new(AtomicBool::new(true));
    let queue = TamperedQueue::new(&house.queue, {
        let unaware = Arc::clone(&first_is_unaware);
        move |call| match call {
            "extend" if unaware.load(Ordering::SeqCst) => Instead::Answer(Ok(())),
            _ => Instead::Nothing,
        }
    });
    let crucible = house.builder().workers(2).lease(LEASE).queue(queue).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "requeued").await;
    settle().await;
    assert_eq!(house.engine.open_now(), 2, "both run");
    first_is_unaware.store(false, Ordering::SeqCst);
    // The next renewal tells the first; the second's succeeds.
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!((house.engine.open_now(), crucible.stats().await.unwrap().running), (1, 1));
    let began = Instant::now();
    assert!(handle.cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_removed_ends_the_run() {
    let house = House::new();
    let crucible = house.builder().lease(LEASE).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    assert!(house.queue.remove(handle.id()).await.unwrap());
    tokio::time::sleep(LEASE).await;
    assert_eq!(house.engine.open_now(), 0);
    let refused = house
        .queue
        .enqueue(crucible_core::Ticket::new(handle.id(), crucible_core::Priority::Normal, ""))
        .await;
    assert!(!matches!(refused, Err(QueueError::Duplicate { .. })), "its ticket is gone");
}
