//! Submissions with an idempotency key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crucible_core::testing::{Fault, Faults, FaultyQueue, FaultyStorage};
use crucible_core::{
    Crucible, Digest, Evaluation, EvaluationId, Event, EventKind, QueueError, RecordQuery,
    RecordState, Secret, Storage as _, SubmitError, Timestamp, WaitError,
};
use futures::FutureExt as _;

use crate::intercepted_queue::{InterceptedQueue, QueueIntercept};
use crate::intercepted_storage::{InterceptedStorage, StorageCall, StorageIntercept};
use crate::support::{TestPlatform, command, until, within, within_real_time};

fn keyed(text: &str) -> Evaluation {
    command(text).with_idempotency_key("k").with_tenant("t")
}

async fn count(crucible: &Crucible) -> usize {
    crucible.records(&RecordQuery::new()).await.unwrap().records.len()
}

#[tokio::test(start_paused = true)]
async fn repeated_key_returns_the_first_handle() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let first = crucible.submit(keyed("print x")).await.unwrap();
    let again = crucible.submit(keyed("print x")).await.unwrap();
    assert_eq!(first.id(), again.id());
    let outcome = within(again.outcome()).await.unwrap();
    let ended = crucible.submit(keyed("print x")).await.unwrap();
    assert_eq!(within(ended.outcome()).await.unwrap(), outcome);
    assert_eq!((count(&crucible).await, test.engine.opened()), (1, 1));
    let other_tenant = crucible.submit(keyed("print x").with_tenant("u")).await.unwrap();
    assert_ne!(other_tenant.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn repeated_key_with_other_evaluation_is_refused() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let first = crucible.submit(keyed("exit 0")).await.unwrap();
    for other in
        [keyed("exit 1"), keyed("exit 0").with_stdin("x"), keyed("exit 0").with_label("l", "v")]
    {
        match crucible.submit(other).await {
            Err(SubmitError::KeyReused { key, existing }) => {
                assert_eq!((key.as_str(), existing), ("k", first.id()))
            }
            answer => panic!("{answer:?}"),
        }
    }
    assert_eq!(count(&crucible).await, 1);
}

#[tokio::test(start_paused = true)]
async fn secret_value_does_not_change_the_fingerprint() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let first = crucible.submit(keyed("hang").with_env("TOKEN", Secret::new("one"))).await.unwrap();
    until(&first, "started").await;
    let again = crucible.submit(keyed("hang").with_env("TOKEN", Secret::new("two"))).await.unwrap();
    assert_eq!(first.id(), again.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_submits_with_one_key_run_once() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let submitting: Vec<_> = (0..50)
        .map(|_| {
            let crucible = crucible.clone();
            tokio::spawn(async move { crucible.submit(keyed("exit 0")).await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in submitting {
        ids.push(within_real_time(task).await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    within_real_time(crucible.handle(ids[0]).outcome()).await.unwrap();
    assert_eq!((count(&crucible).await, test.engine.opened()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn key_of_a_refused_evaluation_is_free_again() {
    let test = TestPlatform::new();
    // The queue fills up between the capacity check and the first ticket.
    let full = AtomicBool::new(true);
    let queue = InterceptedQueue::new(&test.queue, move |call| match call {
        "enqueue" if full.swap(false, Ordering::SeqCst) => {
            QueueIntercept::Return(Err(QueueError::Full { depth: 1, capacity: 1 }))
        }
        _ => QueueIntercept::PassThrough,
    });
    let crucible = test.builder().queue(queue).build().unwrap();
    let refused = crucible.submit(keyed("exit 0")).await;
    assert!(matches!(refused, Err(SubmitError::Queue(QueueError::Full { .. }))), "{refused:?}");
    let page = crucible.records(&RecordQuery::new()).await.unwrap();
    assert!(page.records[0].is_refused());
    let outcome = within(crucible.handle(page.records[0].id).outcome()).await;
    assert!(
        matches!(&outcome, Err(WaitError::NotAccepted { reason, .. }) if reason.contains("full")),
        "{outcome:?}"
    );
    let accepted = crucible.submit(keyed("exit 0")).await.unwrap();
    assert_ne!(accepted.id(), page.records[0].id);
    assert!(within(accepted.outcome()).await.unwrap().is_success());
    assert_eq!(crucible.submit(keyed("exit 0")).await.unwrap().id(), accepted.id());
}

/// The first host died between storing the evaluation and enqueueing its ticket.
#[tokio::test(start_paused = true)]
async fn unqueued_evaluation_is_enqueued_by_the_next_submit() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: keyed("exit 0").into() };
    let submitted = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    test.storage.append(id, 0, vec![submitted]).await.unwrap();
    let handle = crucible.submit(keyed("exit 0")).await.unwrap();
    assert_eq!(handle.id(), id);
    assert!(within(handle.outcome()).await.unwrap().is_success());
}

/// The evaluation with the key is refused just after the next caller found the key taken.
#[tokio::test(start_paused = true)]
async fn key_freed_during_submit_is_reused() {
    let test = TestPlatform::new();
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: keyed("exit 0").into() };
    let submitted = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    let record = test.storage.append(id, 0, vec![submitted]).await.unwrap();
    let refused =
        record.next(EventKind::Cancelled { reason: "not queued".to_owned(), outcome: None });
    let inner = Arc::clone(&test.storage);
    let storage = InterceptedStorage::new(&test.storage, move |call| {
        if matches!(call, StorageCall::Record) {
            // The first append succeeds. Every later one is a conflict.
            let _known = inner.append(id, 1, vec![refused.clone()]).now_or_never();
        }
        StorageIntercept::PassThrough
    });
    let crucible = test.builder().storage(storage).build().unwrap();
    let handle = crucible.submit(keyed("exit 0")).await.unwrap();
    assert_ne!(handle.id(), id);
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert!(test.storage.record(id).await.unwrap().unwrap().is_refused());
}

/// One call to the storage or the queue has a fault. A caller that repeats its key gets exactly one
/// evaluation, and it runs.
#[tokio::test(start_paused = true)]
async fn submit_retry_with_a_key_creates_one_evaluation() {
    for fault in [Fault::Before, Fault::After] {
        for call in 1..12 {
            for on_storage in [true, false] {
                let test = TestPlatform::new();
                let faults = Faults::nth(call, fault);
                let builder = test.builder().workers(1);
                let builder = if on_storage {
                    builder.storage(FaultyStorage::new(Arc::clone(&test.storage), faults))
                } else {
                    builder.queue(FaultyQueue::new(Arc::clone(&test.queue), faults))
                };
                let crucible = builder.build().unwrap();
                let handle = loop {
                    match crucible.submit(keyed("exit 0")).await {
                        Ok(handle) => break handle,
                        Err(error) => assert!(error.is_retryable(), "{error:?}"),
                    }
                };
                let what = format!("{fault:?} in call {call}, storage: {on_storage}");
                assert_eq!(test.ended(handle.id()).await, RecordState::Finished, "{what}");
                let page = test.storage.records(&RecordQuery::new()).await.unwrap();
                let accepted: Vec<_> =
                    page.records.iter().filter(|record| !record.is_refused()).collect();
                assert_eq!(accepted.len(), 1, "{what}: {accepted:?}");
            }
        }
    }
}
