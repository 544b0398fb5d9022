//! A queue that is full or away: the caller is told, and nothing is left behind.

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

use crate::support::{House, MINUTE, SECOND, command, ended, settle, soon, starts, until, within};
use crate::tampered_queue::{Instead, TamperedQueue, away};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_how_full_it_is_and_takes_nothing() {
    let house = House::new().with_capacity(3);
    let crucible = house.builder().workers(1).build().unwrap();
    let running = crucible.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(crucible.submit(command("exit 0")).await.unwrap());
    }
    match crucible.submit(command("exit 0")).await {
        Err(error @ SubmitError::Queue(QueueError::Full { depth: 3, capacity: 3 })) => {
            assert!(error.is_retryable());
            assert!(crucible_core::error_chain(&error).contains("3 tickets wait, 3 may"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        crucible.records(&RecordQuery::new()).await.unwrap().records.len(),
        4,
        "nothing was stored"
    );
    running.cancel().await.unwrap();
    for handle in waiting {
        assert!(within(handle.outcome()).await.unwrap().is_success());
    }
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

/// Many at once find the last places in the queue: each is accepted and runs, or is refused and never runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_refused_never_runs() {
    let house = House::new().with_capacity(5);
    let crucible = house.builder().workers(2).build().unwrap();
    let submitting: Vec<_> = (0..300)
        .map(|_| {
            let crucible = crucible.clone();
            tokio::spawn(async move { crucible.submit(command("exit 0")).await })
        })
        .collect();
    let mut accepted = 0;
    for task in submitting {
        match soon(task).await.unwrap() {
            Ok(handle) => {
                accepted += 1;
                assert!(soon(handle.outcome()).await.unwrap().is_success());
            }
            Err(SubmitError::Queue(QueueError::Full { depth, capacity: 5 })) => assert!(depth >= 5),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(house.engine.opened(), accepted);
    let query = RecordQuery::new().with_limit(1000);
    for record in house.storage.records(&query).await.unwrap().records {
        assert!(record.state == RecordState::Finished || record.is_refused(), "{record:?}");
        house.sound(record.id).await;
    }
    assert_eq!(house.queue.stats().await.unwrap().depth(), 0);
}

/// The answer of the queue is lost, or the ticket is; also while the storage has a fault. What the caller was told is
/// what happens: `Ok` runs to an end, an error never runs.
#[tokio::test(start_paused = true)]
async fn what_the_caller_was_told_is_what_happens() {
    for queue_fault in [Fault::Before, Fault::After] {
        for storage_call in 0..8 {
            for storage_fault in [Fault::Before, Fault::After] {
                let what = format!(
                    "queue {queue_fault:?}, storage {storage_fault:?} in call {storage_call}"
                );
                let house = House::new();
                let queue = FaultyQueue::new(
                    Arc::clone(&house.queue),
                    // The worker waits in call 1; 2 asks for room; 3 puts the ticket.
                    Faults::nth(3, queue_fault),
                );
                let storage = FaultyStorage::new(
                    Arc::clone(&house.storage),
                    Faults::nth(storage_call, storage_fault),
                );
                let crucible =
                    house.builder().workers(1).queue(queue).storage(storage).build().unwrap();
                settle().await;
                let answer = crucible.submit(command("exit 0")).await;
                // Time for whatever goes on in the background.
                tokio::time::sleep(Duration::from_secs(120)).await;
                let records = house.storage.records(&RecordQuery::new()).await.unwrap().records;
                match (answer, &records[..]) {
                    (Ok(handle), [record]) => {
                        assert_eq!(handle.id(), record.id);
                        assert_eq!(house.ended(record.id).await, RecordState::Finished, "{what}");
                    }
                    (Err(SubmitError::Queue(_) | SubmitError::Storage(_)), records) => {
                        for record in records {
                            assert!(record.is_refused(), "{what}: {record:?}");
                            assert_eq!(starts(&house.sound(record.id).await.1), 0, "{what}");
                        }
                    }
                    (answer, records) => panic!("{what}: {answer:?} with {records:?}"),
                }
                settle().await;
                let stats = house.queue.stats().await.unwrap();
                assert_eq!((stats.depth(), stats.claimed), (0, 0), "{what}");
            }
        }
    }
}

/// The ticket got through and the answer did not, while no worker was free to take it.
#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_there_all_the_same_is_taken_out() {
    let house = House::new();
    // The worker's claim, twice room and ticket.
    let queue = FaultyQueue::new(Arc::clone(&house.queue), Faults::nth(5, Fault::After));
    let crucible = house.builder().workers(1).queue(queue).build().unwrap();
    settle().await;
    let running = crucible.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let options = crucible_core::SubmitOptions::new().with_output(sender);
    let refused = crucible.submit_with(command("exit 0"), options).await;
    assert!(
        matches!(refused, Err(SubmitError::Queue(QueueError::Unavailable { .. }))),
        "{refused:?}"
    );
    assert_eq!(house.queue.stats().await.unwrap().depth(), 0);
    assert_eq!(within(receiver.recv()).await, None, "nobody holds on to its channel");
}

/// The queue does not take the ticket, and for a while nobody can write that down.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_written_down_as_soon_as_it_can_be() {
    let house = House::new();
    let queue = TamperedQueue::new(&house.queue, |call| match call {
        "enqueue" => Instead::Answer(Err(away())),
        _ => Instead::Nothing,
    });
    let comes_back = Instant::now() + MINUTE;
    let storage = TamperedStorage::new(&house.storage, move |call| {
        if matches!(call, Call::Record) && Instant::now() < comes_back {
            return Tampered::Fails(StorageError::Unavailable {
                source: "the network is down".into(),
            });
        }
        Tampered::Nothing
    });
    let crucible = house.builder().queue(queue).storage(storage).build().unwrap();
    let refused = crucible.submit(command("exit 0")).await;
    assert!(
        matches!(refused, Err(SubmitError::Queue(QueueError::Unavailable { .. }))),
        "{refused:?}"
    );
    assert!(Instant::now() < comes_back, "the caller does not wait for long");
    let id = house.storage.records(&RecordQuery::new()).await.unwrap().records[0].id;
    assert_eq!(house.ended(id).await, RecordState::Cancelled);
    assert!(house.sound(id).await.0.is_refused());
    assert!(comes_back.elapsed() < 5 * SECOND, "{:?}", comes_back.elapsed());
}

/// Somebody with the same idempotency key found the evaluation stored and without a ticket, and put one.
#[tokio::test(start_paused = true)]
async fn a_ticket_that_somebody_else_has_put_is_as_good() {
    let house = House::new();
    let queue = Arc::clone(&house.queue);
    let storage = TamperedStorage::new(&house.storage, move |call| {
        if let Call::Append([Event { kind: EventKind::Submitted { .. }, evaluation, .. }]) = call {
            let ticket = Ticket::new(*evaluation, Priority::Normal, "");
            queue.enqueue(ticket).now_or_never().unwrap().unwrap();
        }
        Tampered::Nothing
    });
    let crucible = house.builder().storage(storage).build().unwrap();
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

/// A `submit` that is dropped at any point leaves an evaluation that runs to its end, or none.
#[tokio::test(start_paused = true)]
async fn a_submit_that_is_dropped_is_accepted_or_not() {
    for polls in 1..12 {
        let house = House::new();
        let late = Fault::Late(Duration::from_millis(10));
        let storage = FaultyStorage::new(Arc::clone(&house.storage), Faults::always(late));
        let queue = FaultyQueue::new(Arc::clone(&house.queue), Faults::always(late));
        let crucible = house.builder().storage(storage).queue(queue).build().unwrap();
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
        for record in house.storage.records(&RecordQuery::new()).await.unwrap().records {
            assert_eq!(
                ended(&crucible.handle(record.id)).await,
                RecordState::Finished,
                "dropped after {polls} polls"
            );
        }
    }
}

#[test]
fn a_submit_can_be_dropped_outside_of_every_runtime() {
    let house = House::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The first ticket does not get through; the one that is put after the drop does.
    let first = AtomicBool::new(true);
    let queue = TamperedQueue::new(&house.queue, move |call| match call {
        "enqueue" if first.swap(false, Ordering::SeqCst) => Instead::Hang,
        _ => Instead::Nothing,
    });
    let crucible = runtime.block_on(async { house.builder().queue(queue).build().unwrap() });
    let mut submitting = Box::pin(crucible.submit(command("exit 0")));
    let stored = |house: &House| {
        runtime.block_on(house.storage.records(&RecordQuery::new())).unwrap().records
    };
    while stored(&house).is_empty() {
        let polled = submitting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    drop(submitting);
    let handle = crucible.handle(stored(&house)[0].id);
    assert_eq!(runtime.block_on(soon(ended(&handle))), RecordState::Finished);
}
