//! Cases on lease extension.

use std::time::{Duration, Instant};

use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, Subject, assert_claim_lost, assert_nothing_ready, put,
    put_and_take, take, worker,
};

/// The queue does not hand out a ticket after its claim was extended in time.
pub async fn extended_claim_is_not_handed_out(queue: Subject) {
    // On a machine that stops for longer than the lease, the lease expires correctly. This proves
    // nothing, so that the case tries again.
    for _ in 0..20 {
        put(&queue).await;
        let began = Instant::now();
        let claim = take(&queue, SHORT).await;
        let extended = queue.extend(&claim, LONG).await;
        if began.elapsed() + CLOCK >= SHORT {
            queue.remove(claim.ticket.evaluation).await.unwrap();
            continue;
        }
        extended.expect("the lease has not expired");
        let another = queue.claim(&worker(), LONG, SHORT * 2).await.unwrap();
        assert_eq!(another, None, "the old lease must not end the new one");
        queue.ack(&claim).await.expect("the claim is still held");
        return;
    }
    panic!("two calls took longer than {SHORT:?} in twenty tries");
}

/// An extended lease ends after the requested time, even if that is earlier than before.
pub async fn extended_lease_ends_after_requested_time(queue: Subject) {
    let claim = put_and_take(&queue).await;
    let began = Instant::now();
    queue.extend(&claim, SHORT).await.unwrap();
    let again = take(&queue, LONG).await;
    assert_eq!((&again.ticket, again.expired_leases), (&claim.ticket, 1));
    assert!(began.elapsed() + CLOCK >= SHORT, "the lease ended after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "the lease ended after {:?}", began.elapsed());
}

/// A claim with an expired lease is lost. Its holder cannot affect the new claim on the ticket.
pub async fn expired_claim_is_lost(queue: Subject) {
    put(&queue).await;
    let old = take(&queue, SHORT).await;
    let new = take(&queue, LONG).await;
    assert_eq!(old.ticket, new.ticket);
    assert_claim_lost(queue.extend(&old, LONG).await, &old);
    assert_claim_lost(queue.nack(&old, Duration::ZERO).await, &old);
    assert_claim_lost(queue.ack(&old).await, &old);
    assert_nothing_ready(&queue).await;
    queue.extend(&new, LONG).await.unwrap();
    queue.ack(&new).await.unwrap();
}
