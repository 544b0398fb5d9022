//! Cases on enqueueing.

use std::collections::BTreeSet;
use std::time::Duration;

use crucible_core::{QueueError, Ticket};

use super::CAPACITY;
use super::support::{
    LONG, PATIENCE, Subject, assert_nothing_ready, drop_delays, dropped, put, take, ticket, worker,
};

/// An enqueued ticket can be claimed immediately.
pub async fn enqueued_ticket_can_be_claimed_at_once(queue: Subject) {
    let ticket = put(&queue).await;
    let claim =
        queue.claim(&worker(), LONG, Duration::ZERO).await.unwrap().expect("the ticket is ready");
    assert_eq!(claim.ticket, ticket);
    assert_eq!((claim.worker, claim.expired_leases), (worker(), 0));
    assert_nothing_ready(&queue).await;
}

/// A full queue refuses a ticket, and does not drop another to make room.
pub async fn full_queue_refuses_and_drops_nothing(queue: Subject) {
    let mut enqueued = BTreeSet::new();
    for _ in 0..CAPACITY {
        enqueued.insert(put(&queue).await.evaluation);
    }
    match queue.enqueue(ticket()).await {
        Err(QueueError::Full { depth, capacity }) => {
            assert_eq!((depth, capacity), (CAPACITY, CAPACITY))
        }
        other => panic!("a full queue returned {other:?}"),
    }
    // A claimed ticket does not count against the capacity. A delayed ticket does.
    let first = take(&queue, LONG).await;
    queue.enqueue(ticket()).await.unwrap();
    queue.nack(&first, LONG).await.unwrap();
    let refused = queue.enqueue(ticket()).await;
    assert!(
        matches!(refused, Err(QueueError::Full { depth, .. }) if depth == CAPACITY + 1),
        "{refused:?}"
    );
    let mut claimed = BTreeSet::from([first.ticket.evaluation]);
    for _ in 0..CAPACITY {
        claimed.insert(take(&queue, LONG).await.ticket.evaluation);
    }
    assert!(claimed.is_superset(&enqueued));
    assert_nothing_ready(&queue).await;
}

/// A second ticket of a queued or claimed evaluation is a duplicate, also if the queue is full.
pub async fn second_ticket_of_evaluation_is_duplicate(queue: Subject) {
    let ticket = put(&queue).await;
    assert_duplicate(&queue, &ticket).await;
    let claim = take(&queue, LONG).await;
    assert_duplicate(&queue, &ticket).await;
    queue.nack(&claim, LONG).await.unwrap();
    assert_duplicate(&queue, &ticket).await;
    assert!(queue.remove(ticket.evaluation).await.unwrap());
    queue.enqueue(ticket.clone()).await.unwrap();
    let claim = take(&queue, LONG).await;
    queue.ack(&claim).await.unwrap();
    queue.enqueue(ticket.clone()).await.unwrap();
    for _ in 1..CAPACITY {
        put(&queue).await;
    }
    assert_duplicate(&queue, &ticket).await;
}

async fn assert_duplicate(queue: &Subject, ticket: &Ticket) {
    let answer = queue.enqueue(ticket.clone()).await;
    assert!(
        matches!(answer, Err(QueueError::Duplicate { evaluation }) if evaluation == ticket.evaluation),
        "the queue returned {answer:?} for a duplicate"
    );
}

/// Dropping the future leaves the ticket either enqueued once or not at all.
pub async fn dropped_enqueue_adds_ticket_once_or_not_at_all(queue: Subject) {
    for delay in drop_delays() {
        let ticket = ticket();
        dropped(queue.enqueue(ticket.clone()), delay).await;
        match queue.enqueue(ticket.clone()).await {
            Ok(()) | Err(QueueError::Duplicate { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        let claim = queue.claim(&worker(), LONG, PATIENCE).await.unwrap().unwrap();
        assert_eq!(claim.ticket, ticket);
        queue.ack(&claim).await.unwrap();
    }
    assert_nothing_ready(&queue).await;
}
