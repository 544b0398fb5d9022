//! Taking tickets out of the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crucible_core::WorkerId;
use tokio::task::JoinSet;

use super::CAPACITY;
use super::support::{
    CLOCK, LONG, PATIENCE, SHORT, SILENCE, Subject, assert_nothing_comes, dropped, moments, put, take, worker,
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
    let mut put_in = Vec::new();
    for _ in 0..CAPACITY {
        put_in.push(put(&queue).await.evaluation);
    }
    let mut holders = BTreeMap::new();
    for claim in workers.join_all().await.into_iter().flatten() {
        let another = holders.insert(claim.ticket.evaluation, claim.worker);
        assert_eq!(another, None, "{} has two holders", claim.ticket.evaluation);
    }
    put_in.sort_unstable();
    assert_eq!(holders.into_keys().collect::<Vec<_>>(), put_in);
}

/// A ticket whose lease ran out can be claimed again, and its count of expired_leases is one higher.
pub async fn expired_lease_returns_ticket_with_higher_count(queue: Subject) {
    let ticket = put(&queue).await;
    let mut ids = Vec::new();
    let mut lease_began = None;
    for expired_leases in 0..3 {
        let began = Instant::now();
        // Who waits is handed the ticket when the lease ends, without anybody's doing.
        let claim = take(&queue, SHORT).await;
        assert_eq!((&claim.ticket, claim.expired_leases), (&ticket, expired_leases));
        assert!(!ids.contains(&claim.id), "each claim has an id of its own");
        ids.push(claim.id);
        if let Some(held) = lease_began.replace(began).map(|lease: Instant| lease.elapsed()) {
            assert!(held + CLOCK >= SHORT, "it came after {held:?}");
        }
    }
}

/// `None` means that no ticket came in time.
pub async fn claim_without_ticket_times_out_with_none(queue: Subject) {
    assert_eq!(queue.claim(&worker(), LONG, Duration::ZERO).await.unwrap(), None);
    let began = Instant::now();
    assert_eq!(queue.claim(&worker(), LONG, SHORT).await.unwrap(), None);
    assert!(began.elapsed() + CLOCK >= SHORT, "it gave up after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "it gave up after {:?}", began.elapsed());
}

/// A claim that waits gets the ticket that comes, long before its wait is over.
pub async fn waiting_claim_receives_new_ticket(queue: Subject) {
    let began = Instant::now();
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.claim(&worker(), LONG, LONG).await.unwrap() }
    });
    tokio::time::sleep(SILENCE).await;
    let ticket = put(&queue).await;
    let claim = waiting.await.unwrap().expect("a ticket came");
    assert_eq!(claim.ticket, ticket);
    assert!(began.elapsed() < PATIENCE, "it came after {:?}", began.elapsed());
}

/// The claim says how long its ticket had been ready before it was handed out.
pub async fn claim_reports_how_long_ticket_was_ready(queue: Subject) {
    let before = Instant::now();
    put(&queue).await;
    let after = Instant::now();
    tokio::time::sleep(SHORT).await;
    let (least, claim) = (after.elapsed(), take(&queue, LONG).await);
    assert_between(claim.waited, least, before.elapsed());
    // A delay is not waiting: the ticket is not ready.
    let before = Instant::now();
    queue.nack(&claim, SHORT).await.unwrap();
    let claim = take(&queue, LONG).await;
    assert_between(claim.waited, Duration::ZERO, before.elapsed().saturating_sub(SHORT));
}

fn assert_between(waited: Duration, least: Duration, most: Duration) {
    assert!(waited + CLOCK >= least && waited <= most + CLOCK, "{least:?} <= {waited:?} <= {most:?}");
}

/// Dropping the future loses no ticket: at worst it can be claimed again when its lease has run out.
pub async fn dropped_claim_loses_no_ticket(queue: Subject) {
    for moment in moments() {
        // Once with a ticket that is there, once with one that comes while the claim waits.
        for comes in [false, true] {
            let mut early = None;
            if !comes {
                early = Some(put(&queue).await);
            }
            let worker = worker();
            let claiming = dropped(queue.claim(&worker, SHORT, PATIENCE), moment);
            let (claimed, late) = tokio::join!(claiming, async {
                if comes { Some(put(&queue).await) } else { None }
            });
            let ticket = early.or(late).expect("one was put");
            let claim = match claimed {
                Some(answer) => answer.unwrap().expect("there is a ticket"),
                None => take(&queue, LONG).await,
            };
            assert_eq!(claim.ticket, ticket);
            assert!(claim.expired_leases <= 1, "{} expired_leases", claim.expired_leases);
            // A short lease of a claim that was not dropped may have run out by now, on a slow machine.
            if queue.ack(&claim).await.is_err() {
                assert!(queue.remove(ticket.evaluation).await.unwrap());
            }
        }
    }
    assert_nothing_comes(&queue).await;
}
