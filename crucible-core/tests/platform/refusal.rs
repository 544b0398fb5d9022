//! Refusals by a full or unavailable queue.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use crucible_core::testing::{Fault, Faults, FaultyQueue, FaultyStorage};
use crucible_core::{
    Event, EventKind, Priority, Queue as _, QueueError, RecordQuery, RecordState, Storage as _,
    StorageError, SubmitError, Ticket,
};
use futures::FutureExt as _;
use tokio::time::Instant;

use crate::intercepted_queue::{InterceptedQueue, QueueIntercept, queue_unavailable};
use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{
    MINUTE, SECOND, TestPlatform, command, ended, run_until_idle, started_events, until, within,
    within_real_time,
};

#[tokio::test(start_paused = true)]
async fn full_queue_refuses_with_its_depth() {
    let test = TestPlatform::new().with_capacity(3);
    let crucible = test.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(crucible.submit(command("exit 0")).await.unwrap());
    }
    match crucible.submit(command("exit 0")).await {
        Err(error @ SubmitError::Queue(QueueError::Full { depth: 3, capacity: 3 })) => {
            assert!(error.is_retryable());
            assert!(crucible_core::error_chain(&error).contains("3 of 3 tickets"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        crucible.records(&RecordQuery::new()).await.unwrap().records.len(),
        4,
        "the refused evaluation was not stored"
    );
    running.cancel().await.unwrap();
    for handle in waiting {
        assert!(within(handle.outcome()).await.unwrap().is_success());
    }
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

/// Concurrent submits compete for the last room in the queue. A refused evaluation never runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refused_evaluation_never_runs() {
    let test = TestPlatform::new().with_capacity(5);
    let crucible = test.builder().workers(2).build().unwrap();
    let submitting: Vec<_> = (0..300)
        .map(|_| {
            let crucible = crucible.clone();
            tokio::spawn(async move { crucible.submit(command("exit 0")).await })
        })
        .collect();
    let mut accepted = 0;
    for task in submitting {
        match within_real_time(task).await.unwrap() {
            Ok(handle) => {
                accepted += 1;
                assert!(within_real_time(handle.outcome()).await.unwrap().is_success());
            }
            Err(SubmitError::Queue(QueueError::Full { depth, capacity: 5 })) => assert!(depth >= 5),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(test.engine.opened(), accepted);
    let query = RecordQuery::new().with_limit(1000);
    for record in test.storage.records(&query).await.unwrap().records {
        assert!(record.state == RecordState::Finished || record.is_refused(), "{record:?}");
        test.verified(record.id).await;
    }
    assert_eq!(test.queue.stats().await.unwrap().depth(), 0);
}

/// The queue loses the ticket or its answer, and the storage has a fault. After `Ok` the evaluation
/// runs to its end; after an error it never runs.
#[tokio::test(start_paused = true)]
async fn submit_result_is_true_under_faults() {
    for queue_fault in [Fault::Before, Fault::After] {
        for storage_call in 0..8 {
            for storage_fault in [Fault::Before, Fault::After] {
                let what = format!(
                    "queue {queue_fault:?}, storage {storage_fault:?} in call {storage_call}"
                );
                let test = TestPlatform::new();
                let queue = FaultyQueue::new(
                    Arc::clone(&test.queue),
                    // Call 1 is the claim of the worker, 2 the capacity check, 3 the ticket.
                    Faults::nth(3, queue_fault),
                );
                let storage = FaultyStorage::new(
                    Arc::clone(&test.storage),
                    Faults::nth(storage_call, storage_fault),
                );
                let crucible =
                    test.builder().workers(1).queue(queue).storage(storage).build().unwrap();
                run_until_idle().await;
                let answer = crucible.submit(command("exit 0")).await;
                // The background tasks of the platform finish within this time.
                tokio::time::sleep(Duration::from_secs(120)).await;
                let records = test.storage.records(&RecordQuery::new()).await.unwrap().records;
                match (answer, &records[..]) {
                    (Ok(handle), [record]) => {
                        assert_eq!(handle.id(), record.id);
                        assert_eq!(test.ended(record.id).await, RecordState::Finished, "{what}");
                    }
                    (Err(SubmitError::Queue(_) | SubmitError::Storage(_)), records) => {
                        for record in records {
                            assert!(record.is_refused(), "{what}: {record:?}");
                            assert_eq!(
                                started_events(&test.verified(record.id).await.1),
                                0,
                                "{what}"
                            );
                        }
                    }
                    (answer, records) => panic!("{what}: {answer:?} with {records:?}"),
                }
                run_until_idle().await;
                let stats = test.queue.stats().await.unwrap();
                assert_eq!((stats.depth(), stats.claimed), (0, 0), "{what}");
            }
        }
    }
}

/// The queue took the ticket but its answer was lost, and no worker was free to claim it.
#[tokio::test(start_paused = true)]
async fn ticket_of_a_refused_evaluation_is_removed() {
    let test = TestPlatform::new();
    // Call 5 is the second ticket, after the claim, two checks and the first ticket.
    let queue = FaultyQueue::new(Arc::clone(&test.queue), Faults::nth(5, Fault::After));
    let crucible = test.builder().workers(1).queue(queue).build().unwrap();
    run_until_idle().await;
    let running = crucible.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let options = crucible_core::SubmitOptions::new().with_output(sender);
    let refused = crucible.submit_with(command("exit 0"), options).await;
    assert!(
        matches!(refused, Err(SubmitError::Queue(QueueError::Unavailable { .. }))),
        "{refused:?}"
    );
    assert_eq!(test.queue.stats().await.unwrap().depth(), 0);
    assert_eq!(within(receiver.recv()).await, None, "the channel is closed");
}

/// The queue refuses the ticket, and the storage is unavailable for a minute.
#[tokio::test(start_paused = true)]
async fn refusal_is_stored_when_the_storage_returns() {
    let test = TestPlatform::new();
    let queue = InterceptedQueue::new(&test.queue, |call| match call {
        "enqueue" => QueueIntercept::Return(Err(queue_unavailable())),
        _ => QueueIntercept::PassThrough,
    });
    let available_at = Instant::now() + MINUTE;
    let storage = InterceptedStorage::new(&test.storage, move |call| {
        if matches!(call, StorageCall::Record) && Instant::now() < available_at {
            return StorageIntercept::Fail(StorageError::Unavailable {
                source: "the network is down".into(),
            });
        }
        StorageIntercept::PassThrough
    });
    let crucible = test.builder().queue(queue).storage(storage).build().unwrap();
    let refused = crucible.submit(command("exit 0")).await;
    assert!(
        matches!(refused, Err(SubmitError::Queue(QueueError::Unavailable { .. }))),
        "{refused:?}"
    );
    assert!(Instant::now() < available_at, "the caller does not wait for the storage");
    let id = test.storage.records(&RecordQuery::new()).await.unwrap().records[0].id;
    assert_eq!(test.ended(id).await, RecordState::Cancelled);
    assert!(test.verified(id).await.0.is_refused());
    assert!(available_at.elapsed() < 5 * SECOND, "{:?}", available_at.elapsed());
}

/// A caller with the same idempotency key found the evaluation without a ticket and enqueued one.
#[tokio::test(start_paused = true)]
async fn duplicate_ticket_is_a_success() {
    let test = TestPlatform::new();
    let queue = Arc::clone(&test.queue);
    let storage = InterceptedStorage::new(&test.storage, move |call| {
        if let StorageCall::Append([Event { kind: EventKind::Submitted { .. }, evaluation, .. }]) =
            call
        {
            let ticket = Ticket::new(*evaluation, Priority::Normal, "");
            queue.enqueue(ticket).now_or_never().unwrap().unwrap();
        }
        StorageIntercept::PassThrough
    });
    let crucible = test.builder().storage(storage).build().unwrap();
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

/// A `submit` that is dropped at any point leaves an evaluation that runs to its end, or none.
#[tokio::test(start_paused = true)]
async fn dropped_submit_is_accepted_or_not() {
    for polls in 1..12 {
        let test = TestPlatform::new();
        let late = Fault::Late(Duration::from_millis(10));
        let storage = FaultyStorage::new(Arc::clone(&test.storage), Faults::always(late));
        let queue = FaultyQueue::new(Arc::clone(&test.queue), Faults::always(late));
        let crucible = test.builder().storage(storage).queue(queue).build().unwrap();
        {
            let mut submitting = Box::pin(crucible.submit(command("exit 0")));
            for _ in 0..polls {
                let ready =
                    submitting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                if ready {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        for record in test.storage.records(&RecordQuery::new()).await.unwrap().records {
            assert_eq!(
                ended(&crucible.handle(record.id)).await,
                RecordState::Finished,
                "dropped after {polls} polls"
            );
        }
    }
}

#[test]
fn submit_can_be_dropped_outside_a_runtime() {
    let test = TestPlatform::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The first `enqueue` never returns. The one after the drop succeeds.
    let first = AtomicBool::new(true);
    let queue = InterceptedQueue::new(&test.queue, move |call| match call {
        "enqueue" if first.swap(false, Ordering::SeqCst) => QueueIntercept::Hang,
        _ => QueueIntercept::PassThrough,
    });
    let crucible = runtime.block_on(async { test.builder().queue(queue).build().unwrap() });
    let mut submitting = Box::pin(crucible.submit(command("exit 0")));
    let stored = |test: &TestPlatform| {
        runtime.block_on(test.storage.records(&RecordQuery::new())).unwrap().records
    };
    while stored(&test).is_empty() {
        let polled = submitting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    drop(submitting);
    let handle = crucible.handle(stored(&test)[0].id);
    assert_eq!(runtime.block_on(within_real_time(ended(&handle))), RecordState::Finished);
}
