//! What is only true of a queue that outlives its process.

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
use crucible_kv::testing::{CrashImages, Fault, FaultyBackend, MemoryBackend};
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

async fn put(queue: &DurableQueue) -> Ticket {
    let ticket = ticket();
    queue.enqueue(ticket.clone()).await.unwrap();
    ticket
}

async fn take(queue: &DurableQueue) -> Option<Claim> {
    queue.claim(&WorkerId::new("w"), HOUR, Duration::ZERO).await.unwrap()
}

/// Waits until everything is written that was only handed on.
async fn written(store: &Store) {
    let write = |map: &mut crucible_kv::Transaction<'_>| {
        map.put("another's", "");
        Ok::<_, KvError>(())
    };
    store.write(write).await.unwrap();
}

async fn take_all(queue: &DurableQueue) -> Vec<EvaluationId> {
    let mut taken = Vec::new();
    while let Some(claim) = take(queue).await {
        taken.push(claim.ticket.evaluation);
    }
    taken
}

#[tokio::test]
async fn tickets_and_their_order_survive_and_what_was_acknowledged_is_gone() {
    let disk = MemoryBackend::new();
    let mut expected = Vec::new();
    // Each process goes on where the one before was, so that numbers must go on as well.
    for _ in 0..3 {
        let store = store(disk.clone());
        let queue = open(&store).await;
        for _ in 0..5 {
            expected.push(put(&queue).await.evaluation);
        }
        let claim = take(&queue).await.unwrap();
        assert_eq!(claim.ticket.evaluation, expected.remove(0));
        queue.ack(&claim).await.unwrap();
        let removed = expected.remove(2);
        assert!(queue.remove(removed).await.unwrap());
        assert!(!queue.remove(removed).await.unwrap());
    }
    let store = store(disk);
    assert_eq!(take_all(&open(&store).await).await, expected);
}

#[tokio::test]
async fn claims_of_a_process_that_died_come_back_at_once_with_a_death_and_of_one_that_closed_without()
 {
    let disk = MemoryBackend::new();
    let (mut expired_leases, mut last) = (0, None);
    for dies in [true, true, false, true, false] {
        let store = store(disk.clone());
        let queue = open(&store).await;
        if last.is_none() {
            last = Some(put(&queue).await);
        }
        let claim = take(&queue).await.unwrap();
        assert_eq!((Some(&claim.ticket), claim.expired_leases), (last.as_ref(), expired_leases));
        if dies {
            expired_leases += 1;
        } else {
            queue.close().await.unwrap();
            assert_eq!(queue.extend(&claim, HOUR).await.unwrap_err().kind(), QueueErrorKind::Lost);
        }
    }
    // It is written down when it is opened: who dies again before anything else adds none, and takes none away.
    for _ in 0..2 {
        let store = store(disk.clone());
        open(&store).await;
    }
    assert_eq!(take(&open(&store(disk)).await).await.unwrap().expired_leases, expired_leases);
}

#[tokio::test(start_paused = true)]
async fn delays_go_on_by_the_systems_clock_and_one_that_is_set_back_makes_them_no_longer() {
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
        put(&queue).await;
        let claim = take(&queue).await.unwrap();
        queue.nack(&claim, 10 * HOUR).await.unwrap();
    }
    // Set back by an hour: no time has passed.
    clock.fetch_sub(hours(1), Ordering::Relaxed);
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        tokio::time::advance(10 * HOUR - Duration::from_secs(1)).await;
        assert_eq!(take(&queue).await, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(take(&queue).await.is_some(), "as long as it was, and no longer");
    }
    // Opened without anything being written: what has passed since it was written counts.
    let disk = MemoryBackend::new();
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        put(&queue).await;
        let claim = take(&queue).await.unwrap();
        queue.nack(&claim, 10 * HOUR).await.unwrap();
    }
    clock.fetch_add(hours(9), Ordering::Relaxed);
    {
        let store = store(disk.clone());
        let queue = DurableQueue::open(&store, options()).await.unwrap();
        assert_eq!(take(&queue).await, None);
    }
    clock.fetch_add(hours(1), Ordering::Relaxed);
    let store = store(disk);
    assert!(take(&DurableQueue::open(&store, options()).await.unwrap()).await.is_some());
}

#[tokio::test]
async fn a_write_that_fails_for_lack_of_room_leaves_what_is_on_disk() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = open(&store).await;
    let first = put(&queue).await;
    let claim = take(&queue).await.unwrap();
    put(&queue).await;
    faults.fail_all_commits(Some(Fault::Full));
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
    assert_eq!((stats.ready, stats.claimed), (1, 1), "as if nothing had been tried");
    assert!(!queue.remove(refused.evaluation).await.unwrap());
    // The claim is still the one that was made before.
    assert_eq!(claim.ticket, first);
    queue.extend(&claim, HOUR).await.unwrap();
    queue.ack(&claim).await.unwrap();
}

#[tokio::test]
async fn what_was_told_before_it_was_written_is_not_forgotten_for_lack_of_room() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let options = DurableQueueOptions::bounded(1000).restored_from_storage();
    let queue = DurableQueue::open(&store, options).await.unwrap();
    let first = put(&queue).await;
    let claim = take(&queue).await.unwrap();
    written(&store).await;
    faults.fail_all_commits(Some(Fault::Full));
    let second = put(&queue).await;
    // Waits for its write, in the same group.
    queue.nack(&claim, Duration::ZERO).await.unwrap_err();
    faults.fail_all_commits(None);
    let third = put(&queue).await;
    let mut taken = take_all(&queue).await;
    taken.sort_unstable();
    let mut wanted = [first, second, third].map(|ticket| ticket.evaluation);
    wanted.sort_unstable();
    assert_eq!(taken, wanted);
}

#[tokio::test]
async fn whoever_waits_is_woken_by_what_a_failed_write_brings_back() {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = Arc::new(open(&store).await);
    let sent = put(&queue).await;
    let claim = take(&queue).await.unwrap();
    written(&store).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.claim(&WorkerId::new("waits"), HOUR, HOUR).await.unwrap() }
    });
    faults.fail_commit(0, Fault::Full);
    queue.nack(&claim, Duration::ZERO).await.unwrap_err();
    // Whoever waits may have had the ticket in the meantime: then that is what was written, and what holds.
    match queue.nack(&claim, Duration::ZERO).await {
        Ok(()) | Err(QueueError::Lost { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    assert_eq!(waiting.await.unwrap().unwrap().ticket, sent);
}

#[tokio::test]
async fn after_a_flush_that_failed_the_queue_is_poisoned_and_says_why() {
    let disk = MemoryBackend::new();
    let faulty = FaultyBackend::new(disk.clone());
    let faults = faulty.faults();
    let store = store(faulty);
    let queue = open(&store).await;
    let kept = put(&queue).await;
    faults.fail_commit(0, Fault::Flush);
    for _ in 0..2 {
        let error = queue.enqueue(ticket()).await.unwrap_err();
        assert!(
            matches!(&error, QueueError::Poisoned { reason } if !reason.is_empty()),
            "{error:?}"
        );
    }
    drop((queue, store));
    let store = self::store(disk);
    assert!(take_all(&open(&store).await).await.contains(&kept.evaluation));
}

#[tokio::test]
async fn a_damaged_ticket_is_named_and_the_others_stay() {
    let disk = MemoryBackend::new();
    let mut tickets = Vec::new();
    {
        let store = store(disk.clone());
        let queue = open(&store).await;
        for _ in 0..5 {
            tickets.push(put(&queue).await.evaluation);
        }
    }
    let mut entries = disk.entries();
    let (_, value) =
        entries.iter_mut().find(|(key, _)| key.ends_with(&tickets[2].to_bytes())).unwrap();
    let mut damaged = value.to_vec();
    damaged[30] ^= 1;
    *value = damaged.into();
    let disk = MemoryBackend::with_entries(entries);
    {
        let store = store(disk.clone());
        let queue = open(&store).await;
        assert_eq!(queue.corrupt(), [tickets[2]]);
        // A new one can be put in its place.
        queue.enqueue(Ticket::new(tickets[2], Priority::Normal, "")).await.unwrap();
    }
    let store = store(disk);
    let queue = open(&store).await;
    assert_eq!(queue.corrupt(), []);
    let in_order = [0, 1, 3, 4, 2].map(|index| tickets[index]);
    assert_eq!(take_all(&queue).await, in_order);
}

#[tokio::test]
async fn whatever_moment_the_power_goes_what_was_acknowledged_holds() {
    let disk = CrashImages::new();
    let store = store(disk.clone());
    let queue = open(&store).await;
    // What must hold from a moment on: a ticket is there, or is not.
    let mut promises: Vec<(usize, EvaluationId, bool)> = Vec::new();
    for round in 0..20 {
        let put = put(&queue).await.evaluation;
        promises.push((disk.commits(), put, true));
        if round % 3 == 0 {
            let claim = take(&queue).await.unwrap();
            if round % 2 == 0 {
                queue.ack(&claim).await.unwrap();
                promises.push((disk.commits(), claim.ticket.evaluation, false));
            } else {
                queue.nack(&claim, Duration::ZERO).await.unwrap();
            }
        }
    }
    for moment in 0..=disk.commits() {
        for survivors in disk.survivors(moment) {
            let store = self::store(disk.image(survivors));
            let left = take_all(&open(&store).await).await;
            let mut latest = BTreeMap::new();
            for (since, id, is_there) in promises.iter().filter(|(since, ..)| *since <= moment) {
                latest.insert(*id, (*since, *is_there));
            }
            for (id, (since, is_there)) in latest {
                // A later call may have been under way, and what it does may be there already.
                let later =
                    promises.iter().any(|(other, other_id, _)| *other_id == id && *other > since);
                assert!(
                    later || left.contains(&id) == is_there,
                    "{id} at {moment}, {survivors} commits"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let entries = BTreeMap::from([(Bytes::from("q.format"), Bytes::from("7"))]);
    let store = store(MemoryBackend::with_entries(entries));
    let error = DurableQueue::open(&store, DurableQueueOptions::bounded(1)).await.unwrap_err();
    assert!(matches!(error, QueueOpenError::TooNew { found: 7, supported: 1 }), "{error:?}");
}
