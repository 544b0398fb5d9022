//! Keeping a claim.

use std::time::{Duration, Instant};

use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, Subject, assert_lost, assert_nothing_comes, held, put, take, worker,
};

/// A claim that was extended in time is not handed out to another.
pub async fn extended_claim_is_not_handed_out(queue: Subject) {
    // A machine that stands still for longer than the lease loses it rightly; that proves nothing, so it tries again.
    for _ in 0..20 {
        put(&queue).await;
        let began = Instant::now();
        let claim = take(&queue, SHORT).await;
        let extended = queue.extend(&claim, LONG).await;
        if began.elapsed() + CLOCK >= SHORT {
            queue.remove(claim.ticket.evaluation).await.unwrap();
            continue;
        }
        extended.expect("the lease had not run out");
        let another = queue.claim(&worker(), LONG, SHORT * 2).await.unwrap();
        assert_eq!(another, None, "the old lease must not end the new one");
        queue.ack(&claim).await.expect("the claim is still held");
        return;
    }
    panic!("twenty times, two calls took longer than {SHORT:?}");
}

/// The lease ends as long after the extension as was asked for, even if that is sooner than before.
pub async fn extended_lease_ends_after_requested_time(queue: Subject) {
    let claim = held(&queue).await;
    let began = Instant::now();
    queue.extend(&claim, SHORT).await.unwrap();
    let again = take(&queue, LONG).await;
    assert_eq!((&again.ticket, again.expired_leases), (&claim.ticket, 1));
    assert!(began.elapsed() + CLOCK >= SHORT, "it ended after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "it ended after {:?}", began.elapsed());
}

/// A claim whose lease ran out is lost: whatever its holder asks for then does nothing to whoever has the ticket.
pub async fn expired_claim_is_lost(queue: Subject) {
    put(&queue).await;
    let old = take(&queue, SHORT).await;
    let new = take(&queue, LONG).await;
    assert_eq!(old.ticket, new.ticket);
    assert_lost(queue.extend(&old, LONG).await, &old);
    assert_lost(queue.nack(&old, Duration::ZERO).await, &old);
    assert_lost(queue.ack(&old).await, &old);
    assert_nothing_comes(&queue).await;
    queue.extend(&new, LONG).await.unwrap();
    queue.ack(&new).await.unwrap();
}
