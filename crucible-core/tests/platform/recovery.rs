//! The recovery of lost tickets.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, RecordState, Storage as _, Timestamp,
    WorkerId,
};

use crate::support::{MINUTE, TestPlatform, command, within};

/// Stores an evaluation, and optionally its start, as a host that died before `enqueue`.
async fn stored_without_ticket(
    test: &TestPlatform,
    evaluation: Evaluation,
    started: bool,
) -> EvaluationId {
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: Arc::new(evaluation) };
    let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
    let record = test.storage.append(id, 0, vec![event]).await.unwrap();
    if started {
        let kind = EventKind::Started {
            attempt: 1,
            worker: WorkerId::new("dead/0"),
            engine: "fake".to_owned(),
        };
        test.storage.append(id, 1, vec![record.next(kind)]).await.unwrap();
    }
    id
}

#[tokio::test(start_paused = true)]
async fn recover_restores_missing_tickets() {
    let test = TestPlatform::new();
    let waiting = stored_without_ticket(&test, command("exit 3"), false).await;
    let running = stored_without_ticket(&test, command("exit 4"), true).await;
    let crucible = test.build();
    let done = crucible.submit(command("exit 0")).await.unwrap();
    within(done.outcome()).await.unwrap();
    let report = within(crucible.recover()).await.unwrap();
    assert_eq!((report.live, report.requeued, report.corrupt.len()), (2, 2, 0));
    for (id, names) in [
        (waiting, &["submitted", "started", "finished"][..]),
        (running, &["submitted", "started", "requeued", "started", "finished"]),
    ] {
        assert_eq!(test.ended(id).await, RecordState::Finished);
        assert_eq!(test.event_names(id).await, names);
    }
    let again = within(crucible.recover()).await.unwrap();
    assert_eq!((again.live, again.requeued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn recover_keeps_existing_tickets() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let handles = crucible.submit_many((0..5).map(|_| command("sleep 100"))).await;
    let report = within(crucible.recover()).await.unwrap();
    assert_eq!(report.requeued, 0);
    for handle in handles {
        let handle = handle.unwrap();
        assert!(within(handle.outcome()).await.unwrap().is_success());
        assert_eq!(test.event_names(handle.id()).await, ["submitted", "started", "finished"]);
    }
}

/// An accepted evaluation is never refused later, so the recovery waits for a full queue.
#[tokio::test(start_paused = true)]
async fn recover_waits_for_a_full_queue() {
    let test = TestPlatform::new().with_capacity(2);
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(stored_without_ticket(&test, command("sleep 10"), false).await);
    }
    let crucible = test.build();
    assert_eq!(within(crucible.recover()).await.unwrap().requeued, 50);
    for id in ids {
        assert_eq!(test.ended(id).await, RecordState::Finished);
    }
}

#[tokio::test(start_paused = true)]
async fn recovered_evaluation_still_expires() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let hanging = crucible.submit(command("hang")).await.unwrap();
    crate::support::until(&hanging, "started").await;
    let evaluation = command("exit 0").with_expires_in(MINUTE);
    let id = stored_without_ticket(&test, evaluation, false).await;
    within(crucible.recover()).await.unwrap();
    assert_eq!(test.ended(id).await, RecordState::Expired);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(crucible.stats().await.unwrap().queue.depth(), 0);
}
