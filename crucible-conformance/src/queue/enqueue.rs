//! Putting tickets into the queue.

use std::collections::BTreeSet;
use std::time::Duration;

use crucible_core::{QueueError, Ticket};

use super::CAPACITY;
use super::support::{
    LONG, PATIENCE, Subject, assert_nothing_comes, dropped, moments, put, take, ticket, worker,
};

/// The ticket can be claimed at once.
pub async fn enqueued_ticket_can_be_claimed_at_once(queue: Subject) {
    let ticket = put(&queue).await;
    let claim = queue.claim(&worker(), LONG, Duration::ZERO).await.unwrap().expect("no wait is needed");
    assert_eq!(claim.ticket, ticket);
    assert_eq!((claim.worker, claim.expired_leases), (worker(), 0));
    assert_nothing_comes(&queue).await;
}

/// A queue that is full refuses, and nothing is dropped to make room.
pub async fn full_queue_refuses_and_drops_nothing(queue: Subject) {
    let mut put_in = BTreeSet::new();
    for _ in 0..CAPACITY {
        put_in.insert(put(&queue).await.evaluation);
    }
    match queue.enqueue(ticket()).await {
        Err(QueueError::Full { depth, capacity }) => assert_eq!((depth, capacity), (CAPACITY, CAPACITY)),
        other => panic!("{other:?} where the queue is full"),
    }
    // Who holds a ticket makes room for another; who waits for a delay to pass does not.
    let first = take(&queue, LONG).await;
    queue.enqueue(ticket()).await.unwrap();
    queue.nack(&first, LONG).await.unwrap();
    let refused = queue.enqueue(ticket()).await;
    assert!(matches!(refused, Err(QueueError::Full { depth, .. }) if depth == CAPACITY + 1), "{refused:?}");
    let mut taken_out = BTreeSet::from([first.ticket.evaluation]);
    for _ in 0..CAPACITY {
        taken_out.insert(take(&queue, LONG).await.ticket.evaluation);
    }
    assert!(taken_out.is_superset(&put_in));
    assert_nothing_comes(&queue).await;
}

/// A ticket of an evaluation that is already queued or claimed is refused as such, also where the queue is full.
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
        "{answer:?} where the ticket is already there"
    );
}

/// Dropping the future leaves the ticket either in the queue or not.
pub async fn dropped_enqueue_adds_ticket_once_or_not_at_all(queue: Subject) {
    for moment in moments() {
        let ticket = ticket();
        dropped(queue.enqueue(ticket.clone()), moment).await;
        match queue.enqueue(ticket.clone()).await {
            Ok(()) | Err(QueueError::Duplicate { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        let claim = queue.claim(&worker(), LONG, PATIENCE).await.unwrap().unwrap();
        assert_eq!(claim.ticket, ticket);
        queue.ack(&claim).await.unwrap();
    }
    assert_nothing_comes(&queue).await;
}
