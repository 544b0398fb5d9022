//! Cases on claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crucible_core::WorkerId;
use tokio::task::JoinSet;

use super::CAPACITY;
use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, SILENCE, Subject, assert_nothing_ready, drop_delays, dropped,
    put, take, worker,
};

/// A ticket has one holder at a time.
pub async fn ticket_has_one_holder_at_a_time(queue: Subject) {
    let mut workers = JoinSet::new();
    for number in 0..8 {
        let queue = Arc::clone(&queue);
        let worker = WorkerId::new(format!("conformance/{number}"));
        workers.spawn(async move {
            let mut claims = Vec::new();
            while let Some(claim) = queue.claim(&worker, LONG, SILENCE * 5).await.unwrap() {
                assert_eq!(claim.worker, worker);
                claims.push(claim);
            }
            claims
        });
    }
    let mut enqueued = Vec::new();
    for _ in 0..CAPACITY {
        enqueued.push(put(&queue).await.evaluation);
    }
    let mut holders = BTreeMap::new();
    for claim in workers.join_all().await.into_iter().flatten() {
        let another = holders.insert(claim.ticket.evaluation, claim.worker);
        assert_eq!(another, None, "{} has two holders", claim.ticket.evaluation);
    }
    enqueued.sort_unstable();
    assert_eq!(holders.into_keys().collect::<Vec<_>>(), enqueued);
}

/// A ticket can be claimed again after its lease expired, with a higher count of expired leases.
pub async fn expired_lease_returns_ticket_with_higher_count(queue: Subject) {
    let ticket = put(&queue).await;
    let mut ids = Vec::new();
    let mut lease_began = None;
    for expired_leases in 0..3 {
        let began = Instant::now();
        // A waiting worker receives the ticket when the lease expires, without a further call.
        let claim = take(&queue, SHORT).await;
        assert_eq!((&claim.ticket, claim.expired_leases), (&ticket, expired_leases));
        assert!(!ids.contains(&claim.id), "each claim has a unique id");
        ids.push(claim.id);
        if let Some(held) = lease_began.replace(began).map(|lease: Instant| lease.elapsed()) {
            assert!(held + CLOCK >= SHORT, "the ticket came back after {held:?}");
        }
    }
}

/// A claim returns `None` if no ticket arrives in time.
pub async fn claim_without_ticket_times_out_with_none(queue: Subject) {
    assert_eq!(queue.claim(&worker(), LONG, Duration::ZERO).await.unwrap(), None);
    let began = Instant::now();
    assert_eq!(queue.claim(&worker(), LONG, SHORT).await.unwrap(), None);
    assert!(began.elapsed() + CLOCK >= SHORT, "the claim returned after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "the claim returned after {:?}", began.elapsed());
}

/// A waiting claim receives a new ticket long before its wait is over.
pub async fn waiting_claim_receives_new_ticket(queue: Subject) {
    let began = Instant::now();
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.claim(&worker(), LONG, LONG).await.unwrap() }
    });
    tokio::time::sleep(SILENCE).await;
    let ticket = put(&queue).await;
    let claim = waiting.await.unwrap().expect("a ticket was enqueued");
    assert_eq!(claim.ticket, ticket);
    assert!(began.elapsed() < PATIENCE, "the claim returned after {:?}", began.elapsed());
}

/// A claim reports how long its ticket was ready before it was claimed.
pub async fn claim_reports_how_long_ticket_was_ready(queue: Subject) {
    let before = Instant::now();
    put(&queue).await;
    let after = Instant::now();
    tokio::time::sleep(SHORT).await;
    let (least, claim) = (after.elapsed(), take(&queue, LONG).await);
    assert_between(claim.waited, least, before.elapsed());
    // A delayed ticket is not ready, so that the delay does not count.
    let before = Instant::now();
    queue.nack(&claim, SHORT).await.unwrap();
    let claim = take(&queue, LONG).await;
    assert_between(claim.waited, Duration::ZERO, before.elapsed().saturating_sub(SHORT));
}

fn assert_between(waited: Duration, least: Duration, most: Duration) {
    assert!(
        waited + CLOCK >= least && waited <= most + CLOCK,
        "{least:?} <= {waited:?} <= {most:?}"
    );
}

/// Dropping the future loses no ticket. At worst the ticket can be claimed again after its lease.
pub async fn dropped_claim_loses_no_ticket(queue: Subject) {
    for delay in drop_delays() {
        // Once with a ready ticket, once with a ticket that arrives while the claim waits.
        for arrives_late in [false, true] {
            let mut early = None;
            if !arrives_late {
                early = Some(put(&queue).await);
            }
            let worker = worker();
            let claiming = dropped(queue.claim(&worker, SHORT, PATIENCE), delay);
            let (claimed, late) = tokio::join!(claiming, async {
                if arrives_late { Some(put(&queue).await) } else { None }
            });
            let ticket = early.or(late).expect("a ticket was enqueued");
            let claim = match claimed {
                Some(answer) => answer.unwrap().expect("there is a ticket"),
                None => take(&queue, LONG).await,
            };
            assert_eq!(claim.ticket, ticket);
            assert!(claim.expired_leases <= 1, "{} expired_leases", claim.expired_leases);
            // On a slow machine the short lease may have expired by now.
            if queue.ack(&claim).await.is_err() {
                assert!(queue.remove(ticket.evaluation).await.unwrap());
            }
        }
    }
    assert_nothing_ready(&queue).await;
}
