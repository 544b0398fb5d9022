//! Cases on removal.

use std::time::Duration;

use crucible_core::EvaluationId;

use super::support::{
    LONG, SHORT, Subject, assert_claim_lost, assert_nothing_ready, put, put_and_take, take,
};

/// A removed ticket is not handed out. The other tickets are.
pub async fn waiting_ticket_can_be_removed(queue: Subject) {
    let (first, second, third) = (put(&queue).await, put(&queue).await, put(&queue).await);
    assert!(queue.remove(second.evaluation).await.unwrap());
    assert_eq!(take(&queue, LONG).await.ticket, first);
    assert_eq!(take(&queue, LONG).await.ticket, third);
    assert_nothing_ready(&queue).await;
}

/// A removed delayed ticket is not handed out.
pub async fn delayed_ticket_can_be_removed(queue: Subject) {
    let claim = put_and_take(&queue).await;
    queue.nack(&claim, SHORT).await.unwrap();
    assert!(queue.remove(claim.ticket.evaluation).await.unwrap());
    tokio::time::sleep(SHORT).await;
    assert_nothing_ready(&queue).await;
}

/// A removed claimed ticket is not handed out, and the claim on it is lost.
pub async fn removed_claimed_ticket_loses_its_claim(queue: Subject) {
    put(&queue).await;
    let claim = take(&queue, SHORT).await;
    assert!(queue.remove(claim.ticket.evaluation).await.unwrap());
    assert_claim_lost(queue.extend(&claim, LONG).await, &claim);
    assert_claim_lost(queue.nack(&claim, Duration::ZERO).await, &claim);
    assert_claim_lost(queue.ack(&claim).await, &claim);
    tokio::time::sleep(SHORT).await;
    assert_nothing_ready(&queue).await;
}

/// Removing an unknown ticket returns `false`.
pub async fn remove_of_unknown_ticket_returns_false(queue: Subject) {
    assert!(!queue.remove(EvaluationId::new()).await.unwrap());
    let ticket = put(&queue).await;
    assert!(queue.remove(ticket.evaluation).await.unwrap());
    assert!(!queue.remove(ticket.evaluation).await.unwrap());
}
