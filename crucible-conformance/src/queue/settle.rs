//! Ending a claim, and giving it back.

use std::time::{Duration, Instant};

use crucible_core::QueueError;

use super::CAPACITY;
use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, Subject, assert_lost, assert_nothing_comes, dropped, held, moments, put, take,
};

/// The ticket is not handed out again.
pub async fn acked_ticket_is_gone(queue: Subject) {
    put(&queue).await;
    let claim = take(&queue, LONG).await;
    queue.ack(&claim).await.unwrap();
    assert_nothing_comes(&queue).await;
    assert!(!queue.remove(claim.ticket.evaluation).await.unwrap());
}

/// Dropping the future of an ack leaves the ticket either gone or claimed.
pub async fn dropped_ack_leaves_ticket_gone_or_claimed(queue: Subject) {
    for moment in moments() {
        let claim = held(&queue).await;
        dropped(queue.ack(&claim), moment).await;
        match queue.ack(&claim).await {
            Ok(()) | Err(QueueError::Lost { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_nothing_comes(&queue).await;
}

/// Giving a claim back does not count as a death.
pub async fn nack_does_not_count_as_expired_lease(queue: Subject) {
    let ticket = put(&queue).await;
    for _ in 0..5 {
        let claim = take(&queue, LONG).await;
        assert_eq!((&claim.ticket, claim.expired_leases), (&ticket, 0));
        queue.nack(&claim, Duration::ZERO).await.unwrap();
    }
}

/// Giving a claim back is never refused for lack of room.
pub async fn nack_on_full_queue_succeeds(queue: Subject) {
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(held(&queue).await);
    }
    for _ in 0..CAPACITY {
        put(&queue).await;
    }
    for (claim, delay) in claims.iter().zip([Duration::ZERO, SHORT, Duration::ZERO]) {
        queue.nack(claim, delay).await.unwrap();
    }
    for _ in 0..CAPACITY + 3 {
        take(&queue, LONG).await;
    }
    assert_nothing_comes(&queue).await;
}

/// The ticket is not handed out before the delay has passed, and then it is.
pub async fn delayed_ticket_waits_for_its_delay(queue: Subject) {
    let claim = held(&queue).await;
    let began = Instant::now();
    queue.nack(&claim, SHORT).await.unwrap();
    let again = take(&queue, LONG).await;
    assert_eq!(again.ticket, claim.ticket);
    assert!(began.elapsed() + CLOCK >= SHORT, "it came after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "it came after {:?}", began.elapsed());
}

/// Dropping the future of a nack leaves the ticket either given back or claimed.
pub async fn dropped_nack_leaves_ticket_returned_or_claimed(queue: Subject) {
    for moment in moments() {
        let claim = held(&queue).await;
        dropped(queue.nack(&claim, Duration::ZERO), moment).await;
        match queue.nack(&claim, Duration::ZERO).await {
            Ok(()) | Err(QueueError::Lost { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        let again = take(&queue, LONG).await;
        assert_eq!((&again.ticket, again.expired_leases), (&claim.ticket, 0));
        assert_nothing_comes(&queue).await;
        queue.ack(&again).await.unwrap();
    }
}

/// A claim that was ended or given back is no longer held.
pub async fn settled_claim_is_lost(queue: Subject) {
    let acknowledged = held(&queue).await;
    queue.ack(&acknowledged).await.unwrap();
    let given_back = held(&queue).await;
    queue.nack(&given_back, LONG).await.unwrap();
    for claim in [acknowledged, given_back] {
        assert_lost(queue.extend(&claim, LONG).await, &claim);
        assert_lost(queue.nack(&claim, Duration::ZERO).await, &claim);
        assert_lost(queue.ack(&claim).await, &claim);
    }
    assert_nothing_comes(&queue).await;
}
