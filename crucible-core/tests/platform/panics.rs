//! Somebody else's panic costs one evaluation at most, and never a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun, FaultyMonitor};
use crucible_core::{CountingMonitor, Retry, WaitError};

use crate::support::{House, command, endings, settle, until, within};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_has_lost_the_run() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let handle = crucible.submit(command("panic")).await.unwrap();
    match within(handle.outcome()).await {
        // Nobody knows whether the program had started, so it is not run again.
        Err(WaitError::Failed { report, .. }) => {
            assert_eq!((report.kind.as_str(), report.started), ("lost", true));
            assert!(report.message.contains("panicked"), "{report}");
        }
        other => panic!("{other:?}"),
    }
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
    settle().await;
    assert_eq!((house.engine.open_now(), crucible.stats().await.unwrap().queue.claimed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_may_run_twice_is_run_again_after_a_panic() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 { FakeRun::panic() } else { FakeRun::exit(0) }
    });
    let crucible = House::with_engine(engine).build();
    let evaluation = command("x").with_retry(Retry::default().with_idempotent());
    assert!(within(crucible.evaluate(evaluation)).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_panics_disturbs_neither_the_run_nor_the_other_monitors() {
    let house = House::new();
    let counters = Arc::new(CountingMonitor::new());
    let builder =
        house.builder().monitor(FaultyMonitor::panics_from(1)).monitor(Arc::clone(&counters));
    let crucible = builder.build().unwrap();
    for _ in 0..3 {
        assert!(within(crucible.evaluate(command("print x"))).await.unwrap().is_success());
    }
    let counts = counters.counts();
    for (event, expected) in [("submitted", 3), ("started", 3), ("output", 6), ("finished", 3)] {
        assert_eq!(counts.event(event), expected, "{event}");
    }
    assert_eq!(
        (counts.verdict("exited"), counts.output_bytes),
        (3, 3 * ("x".len() + "not x".len()) as u64)
    );
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_panics_costs_no_worker() {
    for panics_in in 1..5 {
        let house = House::new();
        let calls = AtomicU32::new(0);
        let storage = TamperedStorage::new(&house.storage, move |call| {
            let number = if matches!(call, Call::Record) {
                calls.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                0
            };
            assert!(number != panics_in, "injected panic in call {number}");
            Tampered::Nothing
        });
        let lease = Duration::from_secs(3);
        let crucible = house.builder().workers(1).lease(lease).storage(storage).build().unwrap();
        let handle = crucible.submit(command("exit 0")).await.unwrap();
        house.ended(handle.id()).await;
        // A platform without a worker would never come to this one.
        let next = crucible.submit(command("exit 0")).await.unwrap();
        house.ended(next.id()).await;
        for id in [handle.id(), next.id()] {
            assert_eq!(endings(&house.sound(id).await.1), 1, "panic in call {panics_in}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_engine_is_seen_by_whoever_follows() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("panic")).await.unwrap();
    until(&handle, "failed").await;
    assert_eq!(house.names(handle.id()).await, ["submitted", "started", "failed"]);
}
