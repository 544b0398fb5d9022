//! Random faults of every backend, before and after the effect of a call. Every accepted evaluation
//! must end exactly once.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::testing::{Fault, Faults, FaultyBus, FaultyEngine, FaultyQueue, FaultyStorage};
use crucible_core::{
    Collect, Crucible, Evaluation, Handle, Queue as _, QueueError, RecordQuery, RecordState, Retry,
    Storage as _, SubmitError,
};

use crate::support::{EventRecorder, MINUTE, TestPlatform, command, terminal_events, within};

/// The rates of faults: one of so many calls fails.
#[derive(Debug, Clone, Copy)]
struct Rates {
    bus: u64,
    storage: u64,
    queue: u64,
    engine: u64,
}

const NEVER: u64 = u64::MAX;

fn evaluations() -> Vec<Evaluation> {
    let retry = || {
        Retry::default()
            .with_attempts(100)
            .with_backoff(Duration::from_millis(10), Duration::from_secs(1))
    };
    vec![
        command("exit 0").with_retry(retry()),
        command("print x").with_retry(retry().with_idempotent()),
        command("sleep 2500").with_retry(retry().with_idempotent()).with_tenant("t"),
        command("exit 1")
            .with_file("out.txt", "x")
            .with_collect(Collect::matching(["*.txt"]))
            .with_retry(retry()),
        command("sleep 100").with_retry(retry()).with_expires_in(MINUTE),
        command("lost").with_retry(Retry::never()),
        command("hang").with_retry(retry()),
    ]
}

fn build(test: &TestPlatform, seed: u64, rates: Rates) -> Crucible {
    let faults = |salt: u64, rate| Faults::seeded(seed * 16 + salt, rate);
    Crucible::builder()
        .engine("fake", FaultyEngine::new(test.engine.clone(), faults(0, rates.engine)))
        .queue(FaultyQueue::new(Arc::clone(&test.queue), faults(1, rates.queue)))
        .storage(FaultyStorage::new(Arc::clone(&test.storage), faults(2, rates.storage)))
        .bus(FaultyBus::new(test.bus.clone(), faults(3, rates.bus)))
        .workers(2)
        .lease(Duration::from_secs(2))
        .max_expired_leases(20)
        .build()
        .unwrap()
}

/// Submits an evaluation until the platform accepts it.
async fn accepted(crucible: &Crucible, evaluation: &Evaluation) -> Handle {
    loop {
        match crucible.submit(evaluation.clone()).await {
            Ok(handle) => return handle,
            Err(
                error @ (SubmitError::Storage(_)
                | SubmitError::Queue(QueueError::Unavailable { .. })),
            ) => {
                assert!(error.is_retryable(), "{error:?}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn everything_accepted_ends_exactly_once(seed: u64, rates: Rates) {
    let test = TestPlatform::new();
    let what = format!("seed {seed}, {rates:?}");
    let crucible = build(&test, seed, rates);
    let mut ids = Vec::new();
    for evaluation in evaluations() {
        let handle = accepted(&crucible, &evaluation).await;
        ids.push((handle.id(), evaluation));
    }
    // The last evaluation ends only on a cancel request.
    let last = crucible.handle(ids[ids.len() - 1].0);
    within(async { while last.cancel().await.is_err() {} }).await;
    let all_ended = async {
        for (id, _) in &ids {
            while !test.storage.record(*id).await.unwrap().unwrap().state.is_terminal() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(MINUTE * 60, all_ended)
        .await
        .unwrap_or_else(|_| panic!("{what}: an evaluation does not end"));
    for (id, evaluation) in &ids {
        let (record, journal) = test.verified(*id).await;
        assert_eq!(terminal_events(&journal), 1, "{what}");
        match (&evaluation.program, record.state) {
            (_, RecordState::Cancelled) => {
                assert_eq!(*id, last.id(), "{what}: cancelled without a request: {record:?}")
            }
            (_, RecordState::Failed) => {
                assert!(
                    evaluation == &evaluations()[5] || rates.engine != NEVER,
                    "{what}: {record:?}"
                )
            }
            (_, RecordState::Finished) => {
                let artifacts = record.outcome.map_or(0, |outcome| outcome.artifacts.len());
                assert_eq!(artifacts, usize::from(!evaluation.collect.is_empty()), "{what}");
            }
            (_, state) => panic!("{what}: {state}"),
        }
    }
    // Refused evaluations do not run, and the tickets of ended evaluations are removed.
    let idle = async {
        loop {
            let stats = test.queue.stats().await.unwrap();
            let unended =
                RecordQuery::new().with_state(RecordState::Queued).with_state(RecordState::Running);
            let unended = test.storage.records(&unended).await.unwrap().records;
            if stats.depth() + stats.claimed == 0 && unended.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(MINUTE * 60, idle)
        .await
        .unwrap_or_else(|_| panic!("{what}: a ticket or a live record remains"));
    assert_eq!(test.engine.open_now(), 0, "{what}");
    within(crucible.shutdown(MINUTE)).await;
}

async fn over_many_seeds(rates: Rates) {
    for seed in 0..60 {
        everything_accepted_ends_exactly_once(seed, rates).await;
    }
}

#[tokio::test(start_paused = true)]
async fn faulty_bus_loses_no_evaluation() {
    over_many_seeds(Rates { bus: 2, storage: NEVER, queue: NEVER, engine: NEVER }).await;
}

#[tokio::test(start_paused = true)]
async fn faulty_storage_loses_no_evaluation() {
    over_many_seeds(Rates { bus: NEVER, storage: 6, queue: NEVER, engine: NEVER }).await;
}

#[tokio::test(start_paused = true)]
async fn faulty_queue_loses_no_evaluation() {
    over_many_seeds(Rates { bus: NEVER, storage: NEVER, queue: 5, engine: NEVER }).await;
}

#[tokio::test(start_paused = true)]
async fn faulty_engine_loses_no_evaluation() {
    over_many_seeds(Rates { bus: NEVER, storage: NEVER, queue: NEVER, engine: 2 }).await;
}

#[tokio::test(start_paused = true)]
async fn all_backends_faulty_lose_no_evaluation() {
    over_many_seeds(Rates { bus: 4, storage: 10, queue: 10, engine: 4 }).await;
}

/// The storage loses one answer, or one answer and the next call. Monitors still observe every
/// entry, and no lease has to expire.
#[tokio::test(start_paused = true)]
async fn lost_storage_answer_is_recovered_at_once() {
    for then in [Fault::None, Fault::Before] {
        for call in 1..14 {
            let what = format!("call {call}, then {then:?}");
            let test = TestPlatform::new();
            let recorder = Arc::new(EventRecorder::default());
            let faults = Faults::planned(move |number| match number {
                _ if number == call => Fault::After,
                _ if number == call + 1 => then,
                _ => Fault::None,
            });
            let storage = FaultyStorage::new(Arc::clone(&test.storage), faults);
            let builder = test.builder().workers(1).storage(storage).monitor(Arc::clone(&recorder));
            let crucible = builder.build().unwrap();
            let started_at = tokio::time::Instant::now();
            let handle = accepted(&crucible, &command("exit 0")).await;
            test.ended(handle.id()).await;
            // The platform publishes events and settles tickets within this time.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(
                started_at.elapsed() < Duration::from_secs(4),
                "{what}: {:?}",
                started_at.elapsed()
            );
            let stats = test.queue.stats().await.unwrap();
            assert_eq!((stats.depth(), stats.claimed), (0, 0), "{what}");
            let (_, journal) = test.verified(handle.id()).await;
            let entries: Vec<_> =
                journal.iter().map(|event| (event.sequence, event.kind.name())).collect();
            assert_eq!(entries.last().unwrap().1, "finished", "{what}");
            // If the read after the lost answer also fails, the `Started` entry stays unpublished:
            // the attempt counts as lost, and the next attempt is published.
            let observed = recorder.of(handle.id());
            let missing: Vec<_> =
                entries.iter().filter(|entry| !observed.contains(entry)).collect();
            assert!(
                missing.is_empty() || missing == [&(2, "started")],
                "{what}: {missing:?} of {entries:?}"
            );
            assert!(
                then != Fault::None || missing.is_empty(),
                "{what}: {missing:?} of {entries:?}"
            );
        }
    }
}
