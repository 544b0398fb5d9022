//! Tests of durability, beside the conformance suite.

#![expect(
    clippy::unwrap_used,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Claim, EvaluationId, Priority, Queue as _, QueueError, QueueErrorKind, Ticket, Timestamp,
    WorkerId,
};
use crucible_kv::testing::{BackendFault, CrashImages, FaultyBackend, MemoryBackend};
use crucible_kv::{Backend, Durability, KvError, Store};
use crucible_queue::{DurableQueue, DurableQueueOptions, QueueOpenError};

const HOUR: Duration = Duration::from_secs(3600);

fn store(backend: impl Backend) -> Store {
    Store::open(backend, Durability::Power).unwrap()
}

async fn open(store: &Store) -> DurableQueue {
    DurableQueue::open(store, DurableQueueOptions::bounded(1000)).await.unwrap()
}

fn ticket() -> Ticket {
    Ticket::new(EvaluationId::new(), Priority::Normal, "")
}

async fn enqueue_one(queue: &DurableQueue) -> Ticket {
    let ticket = ticket();
    queue.enqueue(ticket.clone()).await.unwrap();
    ticket
}

async fn claim_one(queue: &DurableQueue) -> Option<Claim> {
    queue.claim(&WorkerId::new("w"), HOUR, Duration::ZERO).await.unwrap()
}

/// Waits until the store has committed all earlier writes.
async fn flush(store: &Store) {
    let write = |map: &mut crucible_kv::Transaction<'_>| {
        map.put("unrelated", "");
        Ok::<_, KvError>(())
    };
    store.write(write).await.unwrap();
}

async fn claim_all(queue: &DurableQueue) -> Vec<EvaluationId> {
    let mut claimed = Vec::new();
    while let Some(claim) = claim_one(queue).await {
        claimed.push(claim.ticket.evaluation);
    }
    claimed
}

#[tokio::test]
async fn reopen_keeps_order_and_drops_acknowledged_tickets() {
    let disk = MemoryBackend::new();
    let mut expected = Vec::new();
    // Each process continues the sequence numbers of the previous one.
    for _ in 0..3 {
        let store = store(disk.clone());
        let queue = open(&store).await;
        for _ in 0..5 {
            expected.push(enqueue_one(&queue).await.evaluation);
        }
        let claim = claim_one(&queue).await.unwrap();
        assert_eq!(claim.ticket.evaluation, expected.remove(0));
        queue.ack(&claim).await.unwrap();
        let removed = expected.remove(2);
        assert!(queue.remove(removed).await.unwrap());
        assert!(!queue.remove(removed).await.unwrap());
    }
    let store = store(disk);
    assert_eq!(claim_all(&open(&store).await).await, expected);
}

#[tokio::test]
async fn reopen_after_crash_counts_expired_lease_after_close_not() {
    let disk = MemoryBackend::new();
    let (mut expired_leases, mut last) = (0, None);
    for crashes in [true, true, false, true, false] {
        let store = store(disk.clone());
        let queue = open(&store).await;
        if last.is_none() {
            last = Some(enqueue_one(&queue).await);
        }
        let claim = claim_one(&queue).await.unwrap();
        assert_eq!((Some(&claim.ticket), claim.expired_leases), (last.as_ref(), expired_leases));
        if crashes {
            expired_leases += 1;
        } else {
            queue.close().await.unwrap();
            assert_eq!(queue.extend(&claim, HOUR).await.unwrap_err().kind(), QueueErrorKind::Lost);
        }
    }
    // Opening writes the expired lease. A crash right after opening neither adds nor removes one.
    for _ in 0..2 {
        let store = store(disk.clone());
        open(&store).await;
    }
    assert_eq!(claim_one(&open(&store(disk)).await).await.unwrap().expired_leases, expired_leases);
}

#[tokio::test(start_paused = true)]
async fn reopen_continues_delays_and_clock_set_back_is_harmless() {
    let clock = Arc::new(AtomicU64::new(1_000_000_000_000));
    let options = || {
        let clock = Arc::clone(&clock);
        let time = move || Timestamp::from_micros(clock.load(Ordering::Relaxed));
        DurableQueueOptions::bounded(10).with_clock(time)
    };
    let hours = |hours: u64| hours * 3_600_000_000;
    let disk = MemoryBackend::new();
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        enqueue_one(&queue).await;
        let claim = claim_one(&queue).await.unwrap();
        queue.nack(&claim, 10 * HOUR).await.unwrap();
    }
    // The clock is set back by an hour, so no time has passed.
    clock.fetch_sub(hours(1), Ordering::Relaxed);
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        tokio::time::advance(10 * HOUR - Duration::from_secs(1)).await;
        assert_eq!(claim_one(&queue).await, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(claim_one(&queue).await.is_some(), "the delay has its original length");
    }
    // Opening does not write an unchanged ticket, so the time since its write counts.
    let disk = MemoryBackend::new();
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        enqueue_one(&queue).await;
        let claim = claim_one(&queue).await.unwrap();
        queue.nack(&claim, 10 * HOUR).await.unwrap();
    }
    clock.fetch_add(hours(9), Ordering::Relaxed);
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        assert_eq!(claim_one(&queue).await, None);
    }
    clock.fetch_add(hours(1), Ordering::Relaxed);
    let store = store(disk);
    assert!(claim_one(&DurableQueue::open(&store, options()).await.unwrap()).await.is_some());
}

#[tokio::test]
async fn full_disk_undoes_failed_calls() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = open(&store).await;
    let first = enqueue_one(&queue).await;
    let claim = claim_one(&queue).await.unwrap();
    enqueue_one(&queue).await;
    faults.fail_all_commits(Some(BackendFault::Full));
    let refused = ticket();
    for answer in [
        queue.enqueue(refused.clone()).await,
        queue.ack(&claim).await,
        queue.nack(&claim, Duration::ZERO).await,
    ] {
        let error = answer.unwrap_err();
        assert!(
            matches!(error, QueueError::Unavailable { .. }) && error.is_retryable(),
            "{error:?}"
        );
    }
    faults.fail_all_commits(None);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.claimed), (1, 1), "the failed calls have no effect");
    assert!(!queue.remove(refused.evaluation).await.unwrap());
    // The earlier claim is still valid.
    assert_eq!(claim.ticket, first);
    queue.extend(&claim, HOUR).await.unwrap();
    queue.ack(&claim).await.unwrap();
}

#[tokio::test]
async fn full_disk_keeps_answered_calls_of_restored_queue() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let options = DurableQueueOptions::bounded(1000).restored_from_storage();
    let queue = DurableQueue::open(&store, options).await.unwrap();
    let first = enqueue_one(&queue).await;
    let claim = claim_one(&queue).await.unwrap();
    flush(&store).await;
    faults.fail_all_commits(Some(BackendFault::Full));
    let second = enqueue_one(&queue).await;
    // `nack` waits for its write, in the same group.
    queue.nack(&claim, Duration::ZERO).await.unwrap_err();
    faults.fail_all_commits(None);
    let third = enqueue_one(&queue).await;
    let mut claimed = claim_all(&queue).await;
    claimed.sort_unstable();
    let mut wanted = [first, second, third].map(|ticket| ticket.evaluation);
    wanted.sort_unstable();
    assert_eq!(claimed, wanted);
}

#[tokio::test]
async fn reload_after_failed_write_wakes_waiting_claim() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = Arc::new(open(&store).await);
    let sent = enqueue_one(&queue).await;
    let claim = claim_one(&queue).await.unwrap();
    flush(&store).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.claim(&WorkerId::new("waits"), HOUR, HOUR).await.unwrap() }
    });
    faults.fail_commit(0, BackendFault::Full);
    queue.nack(&claim, Duration::ZERO).await.unwrap_err();
    // The waiting claim may have taken the ticket meanwhile. Then that claim was written.
    match queue.nack(&claim, Duration::ZERO).await {
        Ok(()) | Err(QueueError::Lost { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    assert_eq!(waiting.await.unwrap().unwrap().ticket, sent);
}

#[tokio::test]
async fn failed_flush_poisons_queue_with_reason() {
    let disk = MemoryBackend::new();
    let faulty = FaultyBackend::new(disk.clone());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = open(&store).await;
    let kept = enqueue_one(&queue).await;
    faults.fail_commit(0, BackendFault::Flush);
    for _ in 0..2 {
        let error = queue.enqueue(ticket()).await.unwrap_err();
        assert!(
            matches!(&error, QueueError::Poisoned { reason } if !reason.is_empty()),
            "{error:?}"
        );
    }
    drop((queue, store));
    let store = self::store(disk);
    assert!(claim_all(&open(&store).await).await.contains(&kept.evaluation));
}

#[tokio::test]
async fn corrupt_ticket_is_named_and_others_stay() {
    let disk = MemoryBackend::new();
    let mut tickets = Vec::new();
    {
        let store = store(disk.clone());
        let queue = open(&store).await;
        for _ in 0..5 {
            tickets.push(enqueue_one(&queue).await.evaluation);
        }
    }
    let mut entries = disk.entries();
    let (_, value) =
        entries.iter_mut().find(|(key, _)| key.ends_with(&tickets[2].to_bytes())).unwrap();
    let mut corrupt = value.to_vec();
    corrupt[30] ^= 1;
    *value = corrupt.into();
    let disk = MemoryBackend::with_entries(entries);
    {
        let store = store(disk.clone());
        let queue = open(&store).await;
        assert_eq!(queue.corrupt(), [tickets[2]]);
        // A new ticket can replace it.
        queue.enqueue(Ticket::new(tickets[2], Priority::Normal, "")).await.unwrap();
    }
    let store = store(disk);
    let queue = open(&store).await;
    assert_eq!(queue.corrupt(), []);
    let in_order = [0, 1, 3, 4, 2].map(|index| tickets[index]);
    assert_eq!(claim_all(&queue).await, in_order);
}

#[tokio::test]
async fn power_cut_keeps_acknowledged_calls() {
    let disk = CrashImages::new();
    let store = store(disk.clone());
    let queue = open(&store).await;
    // Acknowledged facts: from a time on, a ticket exists or does not.
    let mut promises: Vec<(usize, EvaluationId, bool)> = Vec::new();
    for round in 0..20 {
        let enqueued = enqueue_one(&queue).await.evaluation;
        promises.push((disk.commits(), enqueued, true));
        if round % 3 == 0 {
            let claim = claim_one(&queue).await.unwrap();
            if round % 2 == 0 {
                queue.ack(&claim).await.unwrap();
                promises.push((disk.commits(), claim.ticket.evaluation, false));
            } else {
                queue.nack(&claim, Duration::ZERO).await.unwrap();
            }
        }
    }
    for time in 0..=disk.commits() {
        for survivors in disk.survivors(time) {
            let store = self::store(disk.image(survivors));
            let remaining = claim_all(&open(&store).await).await;
            let mut latest = BTreeMap::new();
            for (since, id, exists) in promises.iter().filter(|(since, ..)| *since <= time) {
                latest.insert(*id, (*since, *exists));
            }
            for (id, (since, exists)) in latest {
                // A later call may have been running, and its effect may be visible.
                let later =
                    promises.iter().any(|(other, other_id, _)| *other_id == id && *other > since);
                assert!(
                    later || remaining.contains(&id) == exists,
                    "{id} at {time}, {survivors} commits"
                );
            }
        }
    }
}

#[tokio::test]
async fn newer_format_is_refused() {
    let entries = BTreeMap::from([(Bytes::from("q.format"), Bytes::from("7"))]);
    let store = store(MemoryBackend::with_entries(entries));
    let error = DurableQueue::open(&store, DurableQueueOptions::bounded(1)).await.unwrap_err();
    assert!(matches!(error, QueueOpenError::TooNew { found: 7, supported: 1 }), "{error:?}");
}
