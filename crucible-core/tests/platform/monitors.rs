//! What monitors observe: every entry and every signal of this host once, those of one evaluation in order.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::EventKind;

use crate::support::{House, Notes, command, settle, soon, until, within};
use crate::tampered_storage::{Call, Tampered, TamperedStorage};

#[tokio::test(start_paused = true)]
async fn every_entry_and_every_signal_is_observed_once() {
    let house = House::new();
    let notes = Arc::new(Notes::default());
    let crucible = house.builder().monitor(Arc::clone(&notes)).build().unwrap();
    let handle = crucible.submit(command("print x")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    let expected =
        [(1, "submitted"), (2, "started"), (2, "output"), (2, "output"), (3, "finished")];
    assert_eq!(notes.of(handle.id()), expected);
    let hanging = crucible.submit(command("hang")).await.unwrap();
    until(&hanging, "started").await;
    hanging.cancel().await.unwrap();
    within(hanging.outcome()).await.unwrap();
    settle().await;
    let expected = [(1, "submitted"), (2, "started"), (3, "cancel_requested"), (4, "cancelled")];
    assert_eq!(notes.of(hanging.id()), expected);
}

#[tokio::test(start_paused = true)]
async fn a_host_observes_what_it_did_and_no_other() {
    let house = House::new();
    let (mine, yours) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let me = house.builder().monitor(Arc::clone(&mine)).build().unwrap();
    let handle = me.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let you = house.builder().monitor(Arc::clone(&yours)).build().unwrap();
    you.handle(handle.id()).cancel().await.unwrap();
    within(handle.outcome()).await.unwrap();
    settle().await;
    assert_eq!(mine.of(handle.id()), [(1, "submitted"), (2, "started"), (4, "cancelled")]);
    assert_eq!(yours.of(handle.id()), [(3, "cancel_requested")]);
}

/// The worker's entry is in the storage, whose answer is still on its way, when somebody finds it there and cancels.
#[tokio::test(start_paused = true)]
async fn an_entry_is_told_before_the_next_one_is_written() {
    let house = House::new();
    let notes = Arc::new(Notes::default());
    let storage = TamperedStorage::new(&house.storage, |call| match call {
        Call::Append([event]) if matches!(event.kind, EventKind::Started { .. }) => {
            Tampered::AnsweredLate(Duration::from_secs(1))
        }
        _ => Tampered::Nothing,
    });
    let crucible = house.builder().storage(storage).monitor(Arc::clone(&notes)).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    settle().await;
    assert_eq!(handle.status().await.unwrap().attempt, 1, "it is stored");
    assert_eq!(notes.of(handle.id()), [(1, "submitted")], "and nobody knows");
    assert!(within(handle.cancel()).await.unwrap());
    within(handle.outcome()).await.unwrap();
    settle().await;
    let expected = [(1, "submitted"), (2, "started"), (3, "cancel_requested"), (4, "cancelled")];
    assert_eq!(notes.of(handle.id()), expected);
}

/// Two tasks of one host write to one journal at the same time: a worker, and whoever cancels.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_of_one_evaluation_are_observed_in_order_whoever_wrote_them() {
    let house = House::new();
    let notes = Arc::new(Notes::default());
    let crucible = house.builder().workers(4).monitor(Arc::clone(&notes)).build().unwrap();
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
        soon(handle.outcome()).await.unwrap();
        soon(cancelling).await.unwrap();
        let journal = house.sound(handle.id()).await.1;
        let expected: Vec<_> =
            journal.iter().map(|event| (event.sequence, event.kind.name())).collect();
        // The outcome is there as soon as its entry is; it is told right after.
        soon(async {
            while notes.of(handle.id()).len() < expected.len() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(notes.of(handle.id()), expected, "round {round}");
    }
}
