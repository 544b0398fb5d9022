//! A queue that was lost, or whose host died between storage and queue.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, RecordState, Storage as _, Timestamp,
    WorkerId,
};

use crate::support::{House, MINUTE, command, within};

/// What a host leaves that stored an evaluation, and perhaps began it, and died.
async fn left_behind(house: &House, evaluation: Evaluation, begun: bool) -> EvaluationId {
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: Arc::new(evaluation) };
    let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    let record = house.storage.append(id, 0, vec![event]).await.unwrap();
    if begun {
        let kind = EventKind::Started {
            attempt: 1,
            worker: WorkerId::new("dead/0"),
            engine: "fake".to_owned(),
        };
        house.storage.append(id, 1, vec![record.next(kind)]).await.unwrap();
    }
    id
}

#[tokio::test(start_paused = true)]
async fn what_has_no_ticket_gets_one_and_ends_once() {
    let house = House::new();
    let waiting = left_behind(&house, command("exit 3"), false).await;
    let begun = left_behind(&house, command("exit 4"), true).await;
    let crucible = house.build();
    let done = crucible.submit(command("exit 0")).await.unwrap();
    within(done.outcome()).await.unwrap();
    let report = within(crucible.recover()).await.unwrap();
    assert_eq!((report.live, report.requeued, report.corrupt.len()), (2, 2, 0));
    for (id, names) in [
        (waiting, &["submitted", "started", "finished"][..]),
        (begun, &["submitted", "started", "requeued", "started", "finished"]),
    ] {
        assert_eq!(house.ended(id).await, RecordState::Finished);
        assert_eq!(house.names(id).await, names);
    }
    let again = within(crucible.recover()).await.unwrap();
    assert_eq!((again.live, again.requeued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_has_a_ticket_keeps_it() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let handles = crucible.submit_many((0..5).map(|_| command("sleep 100"))).await;
    let report = within(crucible.recover()).await.unwrap();
    assert_eq!(report.requeued, 0);
    for handle in handles {
        let handle = handle.unwrap();
        assert!(within(handle.outcome()).await.unwrap().is_success());
        assert_eq!(house.names(handle.id()).await, ["submitted", "started", "finished"]);
    }
}

/// What was accepted is not refused later: a queue that is full is waited for.
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_waited_for() {
    let house = House::new().with_capacity(2);
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(left_behind(&house, command("sleep 10"), false).await);
    }
    let crucible = house.build();
    assert_eq!(within(crucible.recover()).await.unwrap().requeued, 50);
    for id in ids {
        assert_eq!(house.ended(id).await, RecordState::Finished);
    }
}

#[tokio::test(start_paused = true)]
async fn what_expires_does_so_after_a_recovery_too() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let hanging = crucible.submit(command("hang")).await.unwrap();
    crate::support::until(&hanging, "started").await;
    let evaluation = command("exit 0").with_expires_in(MINUTE);
    let id = left_behind(&house, evaluation, false).await;
    within(crucible.recover()).await.unwrap();
    assert_eq!(house.ended(id).await, RecordState::Expired);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0);
}
