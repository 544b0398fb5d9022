//! Panics of backends and monitors. They never stop a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crucible_core::testing::{FakeEngine, FakeRun, FaultyMonitor};
use crucible_core::{CountingMonitor, Retry, WaitError};

use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{TestPlatform, command, run_until_idle, terminal_events, until, within};

#[tokio::test(start_paused = true)]
async fn engine_panic_is_a_lost_run() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let handle = crucible.submit(command("panic")).await.unwrap();
    match within(handle.outcome()).await {
        // The program may have started, so it does not run again.
        Err(WaitError::Failed { report, .. }) => {
            assert_eq!((report.kind.as_str(), report.started), ("lost", true));
            assert!(report.message.contains("panicked"), "{report}");
        }
        other => panic!("{other:?}"),
    }
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
    run_until_idle().await;
    assert_eq!((test.engine.open_now(), crucible.stats().await.unwrap().queue.claimed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn idempotent_evaluation_runs_again_after_a_panic() {
    let runs = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::scripted(move |_| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 { FakeRun::panic() } else { FakeRun::exit(0) }
    });
    let crucible = TestPlatform::with_engine(engine).build();
    let evaluation = command("x").with_retry(Retry::default().with_idempotent());
    assert!(within(crucible.evaluate(evaluation)).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn monitor_panic_does_not_affect_other_monitors() {
    let test = TestPlatform::new();
    let counters = Arc::new(CountingMonitor::new());
    let builder =
        test.builder().monitor(FaultyMonitor::panics_from(1)).monitor(Arc::clone(&counters));
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
async fn storage_panic_does_not_stop_the_worker() {
    for panics_in in 1..5 {
        let test = TestPlatform::new();
        let calls = AtomicU32::new(0);
        let storage = InterceptedStorage::new(&test.storage, move |call| {
            let number = if matches!(call, StorageCall::Record) {
                calls.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                0
            };
            assert!(number != panics_in, "injected panic in call {number}");
            StorageIntercept::PassThrough
        });
        let lease = Duration::from_secs(3);
        let crucible = test.builder().workers(1).lease(lease).storage(storage).build().unwrap();
        let handle = crucible.submit(command("exit 0")).await.unwrap();
        test.ended(handle.id()).await;
        // This evaluation runs only if the worker survived.
        let next = crucible.submit(command("exit 0")).await.unwrap();
        test.ended(next.id()).await;
        for id in [handle.id(), next.id()] {
            assert_eq!(terminal_events(&test.verified(id).await.1), 1, "panic in call {panics_in}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn engine_panic_is_visible_in_the_events() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("panic")).await.unwrap();
    until(&handle, "failed").await;
    assert_eq!(test.event_names(handle.id()).await, ["submitted", "started", "failed"]);
}
