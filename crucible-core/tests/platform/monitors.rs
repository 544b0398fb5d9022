//! The events that monitors observe.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::EventKind;

use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{
    EventRecorder, TestPlatform, command, run_until_idle, until, within, within_real_time,
};

#[tokio::test(start_paused = true)]
async fn monitor_observes_each_entry_and_signal_once() {
    let test = TestPlatform::new();
    let recorder = Arc::new(EventRecorder::default());
    let crucible = test.builder().monitor(Arc::clone(&recorder)).build().unwrap();
    let handle = crucible.submit(command("print x")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    let expected =
        [(1, "submitted"), (2, "started"), (2, "output"), (2, "output"), (3, "finished")];
    assert_eq!(recorder.of(handle.id()), expected);
    let hanging = crucible.submit(command("hang")).await.unwrap();
    until(&hanging, "started").await;
    hanging.cancel().await.unwrap();
    within(hanging.outcome()).await.unwrap();
    run_until_idle().await;
    let expected = [(1, "submitted"), (2, "started"), (3, "cancel_requested"), (4, "cancelled")];
    assert_eq!(recorder.of(hanging.id()), expected);
}

#[tokio::test(start_paused = true)]
async fn monitor_observes_only_events_of_its_host() {
    let test = TestPlatform::new();
    let (first_events, second_events) =
        (Arc::new(EventRecorder::default()), Arc::new(EventRecorder::default()));
    let first = test.builder().monitor(Arc::clone(&first_events)).build().unwrap();
    let handle = first.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let second = test.builder().monitor(Arc::clone(&second_events)).build().unwrap();
    second.handle(handle.id()).cancel().await.unwrap();
    within(handle.outcome()).await.unwrap();
    run_until_idle().await;
    assert_eq!(first_events.of(handle.id()), [(1, "submitted"), (2, "started"), (4, "cancelled")]);
    assert_eq!(second_events.of(handle.id()), [(3, "cancel_requested")]);
}

/// A caller reads the `Started` entry and cancels before the storage has answered the worker.
#[tokio::test(start_paused = true)]
async fn entry_is_published_before_the_next_is_written() {
    let test = TestPlatform::new();
    let recorder = Arc::new(EventRecorder::default());
    let storage = InterceptedStorage::new(&test.storage, |call| match call {
        StorageCall::Append([event]) if matches!(event.kind, EventKind::Started { .. }) => {
            StorageIntercept::DelayAnswer(Duration::from_secs(1))
        }
        _ => StorageIntercept::PassThrough,
    });
    let crucible = test.builder().storage(storage).monitor(Arc::clone(&recorder)).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    run_until_idle().await;
    assert_eq!(handle.status().await.unwrap().attempt, 1, "the start is stored");
    assert_eq!(recorder.of(handle.id()), [(1, "submitted")], "the start is not published");
    assert!(within(handle.cancel()).await.unwrap());
    within(handle.outcome()).await.unwrap();
    run_until_idle().await;
    let expected = [(1, "submitted"), (2, "started"), (3, "cancel_requested"), (4, "cancelled")];
    assert_eq!(recorder.of(handle.id()), expected);
}

/// A worker and a cancelling caller of one host write to one journal at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn monitor_observes_concurrent_writes_in_order() {
    let test = TestPlatform::new();
    let recorder = Arc::new(EventRecorder::default());
    let crucible = test.builder().workers(4).monitor(Arc::clone(&recorder)).build().unwrap();
    for round in 0..400_u32 {
        let handle = crucible.submit(command("exit 0")).await.unwrap();
        let cancelling = tokio::spawn({
            let handle = handle.clone();
            async move {
                for _ in 0..round % 10 {
                    std::hint::spin_loop();
                    tokio::task::yield_now().await;
                }
                handle.cancel().await.unwrap()
            }
        });
        within_real_time(handle.outcome()).await.unwrap();
        within_real_time(cancelling).await.unwrap();
        let journal = test.verified(handle.id()).await.1;
        let expected: Vec<_> =
            journal.iter().map(|event| (event.sequence, event.kind.name())).collect();
        // The outcome is readable before its entry is published.
        within_real_time(async {
            while recorder.of(handle.id()).len() < expected.len() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(recorder.of(handle.id()), expected, "round {round}");
    }
}
