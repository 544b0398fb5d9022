//! Submitting the same evaluation again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crucible_core::testing::{Fault, Faults, FaultyQueue, FaultyStorage};
use crucible_core::{
    Crucible, Digest, Evaluation, EvaluationId, Event, EventKind, QueueError, RecordQuery,
    RecordState, Secret, Storage as _, SubmitError, Timestamp, WaitError,
};
use futures::FutureExt as _;

use crate::support::{House, command, soon, until, within};
use crate::tampered_queue::{Instead, TamperedQueue};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

fn keyed(text: &str) -> Evaluation {
    command(text).with_idempotency_key("k").with_tenant("t")
}

async fn count(crucible: &Crucible) -> usize {
    crucible.records(&RecordQuery::new()).await.unwrap().records.len()
}

#[tokio::test(start_paused = true)]
async fn the_same_evaluation_gives_the_first_ones_handle() {
    let house = House::new();
    let crucible = house.build();
    let first = crucible.submit(keyed("print x")).await.unwrap();
    let again = crucible.submit(keyed("print x")).await.unwrap();
    assert_eq!(first.id(), again.id());
    let outcome = within(again.outcome()).await.unwrap();
    let ended = crucible.submit(keyed("print x")).await.unwrap();
    assert_eq!(within(ended.outcome()).await.unwrap(), outcome);
    assert_eq!((count(&crucible).await, house.engine.opened()), (1, 1));
    let other_tenant = crucible.submit(keyed("print x").with_tenant("u")).await.unwrap();
    assert_ne!(other_tenant.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn another_evaluation_is_refused() {
    let house = House::new();
    let crucible = house.build();
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
async fn the_value_of_a_secret_makes_no_difference() {
    let house = House::new();
    let crucible = house.build();
    let first = crucible.submit(keyed("hang").with_env("TOKEN", Secret::new("one"))).await.unwrap();
    until(&first, "started").await;
    let again = crucible.submit(keyed("hang").with_env("TOKEN", Secret::new("two"))).await.unwrap();
    assert_eq!(first.id(), again.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_runs_and_all_have_it() {
    let house = House::new();
    let crucible = house.build();
    let submitting: Vec<_> = (0..50)
        .map(|_| {
            let crucible = crucible.clone();
            tokio::spawn(async move { crucible.submit(keyed("exit 0")).await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in submitting {
        ids.push(soon(task).await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    soon(crucible.handle(ids[0]).outcome()).await.unwrap();
    assert_eq!((count(&crucible).await, house.engine.opened()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_refused_can_be_submitted_again() {
    let house = House::new();
    // It fills up between the question whether it is full and the first ticket.
    let full = AtomicBool::new(true);
    let queue = TamperedQueue::new(&house.queue, move |call| match call {
        "enqueue" if full.swap(false, Ordering::SeqCst) => {
            Instead::Answer(Err(QueueError::Full { depth: 1, capacity: 1 }))
        }
        _ => Instead::Nothing,
    });
    let crucible = house.builder().queue(queue).build().unwrap();
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

/// A host that died between storing and queueing, as far as the next caller can see.
#[tokio::test(start_paused = true)]
async fn one_that_was_stored_and_never_queued_is_queued_by_the_next_caller() {
    let house = House::new();
    let crucible = house.build();
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: keyed("exit 0").into() };
    let submitted = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    house.storage.append(id, 0, vec![submitted]).await.unwrap();
    let handle = crucible.submit(keyed("exit 0")).await.unwrap();
    assert_eq!(handle.id(), id);
    assert!(within(handle.outcome()).await.unwrap().is_success());
}

/// Whoever has the key is refused by the queue just after the next caller has found the key taken.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_given_back_at_the_last_moment_can_be_had() {
    let house = House::new();
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: keyed("exit 0").into() };
    let submitted = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    let record = house.storage.append(id, 0, vec![submitted]).await.unwrap();
    let refused =
        record.next(EventKind::Cancelled { reason: "not queued".to_owned(), outcome: None });
    let inner = Arc::clone(&house.storage);
    let storage = TamperedStorage::new(&house.storage, move |call| {
        if matches!(call, Call::Record) {
            // The first time it is refused, every other time it is a conflict.
            let _known = inner.append(id, 1, vec![refused.clone()]).now_or_never();
        }
        Tampered::Nothing
    });
    let crucible = house.builder().storage(storage).build().unwrap();
    let handle = crucible.submit(keyed("exit 0")).await.unwrap();
    assert_ne!(handle.id(), id);
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert!(house.storage.record(id).await.unwrap().unwrap().is_refused());
}

/// Whatever one call to the storage or to the queue does, the caller who tries again with the same key gets one
/// evaluation, and it runs.
#[tokio::test(start_paused = true)]
async fn a_key_makes_it_safe_to_try_again() {
    for fault in [Fault::Before, Fault::After] {
        for call in 1..12 {
            for on_storage in [true, false] {
                let house = House::new();
                let faults = Faults::nth(call, fault);
                let builder = house.builder().workers(1);
                let builder = if on_storage {
                    builder.storage(FaultyStorage::new(Arc::clone(&house.storage), faults))
                } else {
                    builder.queue(FaultyQueue::new(Arc::clone(&house.queue), faults))
                };
                let crucible = builder.build().unwrap();
                let handle = loop {
                    match crucible.submit(keyed("exit 0")).await {
                        Ok(handle) => break handle,
                        Err(error) => assert!(error.is_retryable(), "{error:?}"),
                    }
                };
                let what = format!("{fault:?} in call {call}, storage: {on_storage}");
                assert_eq!(house.ended(handle.id()).await, RecordState::Finished, "{what}");
                let page = house.storage.records(&RecordQuery::new()).await.unwrap();
                let accepted: Vec<_> =
                    page.records.iter().filter(|record| !record.is_refused()).collect();
                assert_eq!(accepted.len(), 1, "{what}: {accepted:?}");
            }
        }
    }
}
