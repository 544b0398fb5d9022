//! Cases on `ack` and `nack`.

use std::time::{Duration, Instant};

use crucible_core::QueueError;

use super::CAPACITY;
use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, Subject, assert_claim_lost, assert_nothing_ready, drop_delays,
    dropped, put, put_and_take, take,
};

/// An acknowledged ticket is not handed out again.
pub async fn acked_ticket_is_gone(queue: Subject) {
    put(&queue).await;
    let claim = take(&queue, LONG).await;
    queue.ack(&claim).await.unwrap();
    assert_nothing_ready(&queue).await;
    assert!(!queue.remove(claim.ticket.evaluation).await.unwrap());
}

/// Dropping the future of an ack leaves the ticket either gone or claimed.
pub async fn dropped_ack_leaves_ticket_gone_or_claimed(queue: Subject) {
    for after in drop_delays() {
        let claim = put_and_take(&queue).await;
        dropped(queue.ack(&claim), after).await;
        match queue.ack(&claim).await {
            Ok(()) | Err(QueueError::Lost { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_nothing_ready(&queue).await;
}

/// A returned claim does not count as an expired lease.
pub async fn nack_does_not_count_as_expired_lease(queue: Subject) {
    let ticket = put(&queue).await;
    for _ in 0..5 {
        let claim = take(&queue, LONG).await;
        assert_eq!((&claim.ticket, claim.expired_leases), (&ticket, 0));
        queue.nack(&claim, Duration::ZERO).await.unwrap();
    }
}

/// A full queue accepts a returned ticket.
pub async fn nack_on_full_queue_succeeds(queue: Subject) {
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(put_and_take(&queue).await);
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
    assert_nothing_ready(&queue).await;
}

/// A delayed ticket is handed out after its delay, and not before.
pub async fn delayed_ticket_waits_for_its_delay(queue: Subject) {
    let claim = put_and_take(&queue).await;
    let began = Instant::now();
    queue.nack(&claim, SHORT).await.unwrap();
    let again = take(&queue, LONG).await;
    assert_eq!(again.ticket, claim.ticket);
    assert!(began.elapsed() + CLOCK >= SHORT, "the ticket was ready after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "the ticket was ready after {:?}", began.elapsed());
}

/// Dropping the future of a nack leaves the ticket either returned or claimed.
pub async fn dropped_nack_leaves_ticket_returned_or_claimed(queue: Subject) {
    for after in drop_delays() {
        let claim = put_and_take(&queue).await;
        dropped(queue.nack(&claim, Duration::ZERO), after).await;
        match queue.nack(&claim, Duration::ZERO).await {
            Ok(()) | Err(QueueError::Lost { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        let again = take(&queue, LONG).await;
        assert_eq!((&again.ticket, again.expired_leases), (&claim.ticket, 0));
        assert_nothing_ready(&queue).await;
        queue.ack(&again).await.unwrap();
    }
}

/// A claim that was acknowledged or returned is lost.
pub async fn settled_claim_is_lost(queue: Subject) {
    let acknowledged = put_and_take(&queue).await;
    queue.ack(&acknowledged).await.unwrap();
    let returned = put_and_take(&queue).await;
    queue.nack(&returned, LONG).await.unwrap();
    for claim in [acknowledged, returned] {
        assert_claim_lost(queue.extend(&claim, LONG).await, &claim);
        assert_claim_lost(queue.nack(&claim, Duration::ZERO).await, &claim);
        assert_claim_lost(queue.ack(&claim).await, &claim);
    }
    assert_nothing_ready(&queue).await;
}
