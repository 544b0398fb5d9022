//! Who waits is woken: in time, each for a reason, and nobody's wake-up is lost. Time is paused: it moves only when
//! everybody waits.

#![expect(
    clippy::unwrap_used,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crucible_core::{Claim, EvaluationId, Priority, Queue as _, Ticket, WorkerId};
use crucible_queue::MemoryQueue;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn queue() -> Arc<MemoryQueue> {
    Arc::new(MemoryQueue::bounded(10_000))
}

fn ticket(priority: Priority) -> Ticket {
    Ticket::new(EvaluationId::new(), priority, "")
}

async fn claim(queue: &MemoryQueue, lease: Duration, wait: Duration) -> Option<Claim> {
    queue.claim(&WorkerId::new("w"), lease, wait).await.unwrap()
}

/// Waits for a ticket for an hour, in a task of its own that has begun to wait when this returns.
async fn waiter(queue: &Arc<MemoryQueue>) -> JoinHandle<Option<Claim>> {
    let queue = Arc::clone(queue);
    let task = tokio::spawn(async move { claim(&queue, HOUR, HOUR).await });
    settle().await;
    task
}

/// Lets every task run until it waits. There is one thread, so that a few turns are all it takes.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Counts how often a future is polled.
async fn counted<T>(polls: Arc<AtomicUsize>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(context)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_comes_is_handed_out_at_once() {
    let queue = queue();
    let task = waiter(&queue).await;
    let began = Instant::now();
    let sent = ticket(Priority::Normal);
    queue.enqueue(sent.clone()).await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().ticket, sent);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_of_waiting_in_vain_but_the_end_of_the_wait() {
    let queue = queue();
    let began = Instant::now();
    assert_eq!(claim(&queue, MINUTE, Duration::from_millis(1500)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
    assert_eq!(claim(&queue, MINUTE, Duration::ZERO).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_are_no_trouble() {
    let queue = queue();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    let held = claim(&queue, Duration::MAX, Duration::MAX).await.unwrap();
    queue.extend(&held, Duration::MAX).await.unwrap();
    queue.nack(&held, Duration::MAX).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().delayed, 1);
    assert!(timeout(HOUR, claim(&queue, Duration::MAX, Duration::MAX)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lease_and_a_delay_that_end_wake_a_waiter_by_themselves() {
    let queue = queue();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    let began = Instant::now();
    claim(&queue, Duration::from_millis(300), Duration::ZERO).await.unwrap();
    let again = claim(&queue, MINUTE, HOUR).await.unwrap();
    assert_eq!((began.elapsed(), again.expired_leases), (Duration::from_millis(300), 1));
    queue.nack(&again, Duration::from_millis(200)).await.unwrap();
    let delayed = claim(&queue, MINUTE, HOUR).await.unwrap();
    assert_eq!((began.elapsed(), delayed.expired_leases), (Duration::from_millis(500), 1));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_sooner_than_all_others_is_seen_by_who_waits_already() {
    let queue = queue();
    let began = Instant::now();
    for _ in 0..2 {
        queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    }
    let first = claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let second = claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let task = waiter(&queue).await;
    queue.nack(&first, Duration::from_secs(20)).await.unwrap();
    settle().await;
    queue.extend(&second, Duration::from_secs(10)).await.unwrap();
    let claimed = task.await.unwrap().unwrap();
    assert_eq!((claimed.ticket, began.elapsed()), (second.ticket, Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_with_a_ticket_on_its_way_passes_it_on() {
    let queue = queue();
    let mut tasks = vec![waiter(&queue).await, waiter(&queue).await, waiter(&queue).await];
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    // The last that came is the one that is woken; nothing of it has run yet.
    tasks.pop().unwrap().abort();
    let began = Instant::now();
    let second = tasks.pop().unwrap();
    assert!(second.await.unwrap().is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_the_clock_has_a_successor() {
    let queue = queue();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let tasks = [waiter(&queue).await, waiter(&queue).await, waiter(&queue).await];
    let began = Instant::now();
    let [first, second, third] = tasks;
    first.abort();
    settle().await;
    second.abort();
    assert_eq!(third.await.unwrap().unwrap().expired_leases, 1);
    assert_eq!(began.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_taken_from_under_a_waiter_s_nose_is_watched() {
    let queue = queue();
    let task = waiter(&queue).await;
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    // The waiter is woken, and has not run yet.
    let lease = Duration::from_millis(100);
    claim(&queue, lease, Duration::ZERO).await.unwrap();
    let began = Instant::now();
    assert_eq!(task.await.unwrap().unwrap().expired_leases, 1);
    assert_eq!(began.elapsed(), lease);
}

#[tokio::test(start_paused = true)]
async fn one_ticket_and_one_ended_lease_wake_one_waiter_each() {
    let queue = queue();
    let polls = Arc::new(AtomicUsize::new(0));
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    for _ in 0..50 {
        let (queue, polls) = (Arc::clone(&queue), Arc::clone(&polls));
        tokio::spawn(counted(polls, async move { claim(&queue, HOUR, HOUR).await }));
    }
    settle().await;
    assert_eq!(polls.swap(0, Ordering::SeqCst), 50);
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    settle().await;
    assert_eq!(polls.swap(0, Ordering::SeqCst), 1, "one for the ticket");
    tokio::time::sleep(MINUTE * 2).await;
    // Who watched the clock took the ticket, so another watches now.
    assert_eq!(polls.swap(0, Ordering::SeqCst), 2, "one for the lease, and one to watch the clock");
    assert_eq!(queue.stats().await.unwrap().claimed, 2);
}

#[tokio::test(start_paused = true)]
async fn many_ends_at_one_moment_wake_as_many_waiters() {
    let queue = queue();
    for _ in 0..10 {
        queue.enqueue(ticket(Priority::Normal)).await.unwrap();
        claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    }
    let mut tasks = Vec::new();
    for _ in 0..10 {
        tasks.push(waiter(&queue).await);
    }
    let began = Instant::now();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().expired_leases, 1);
    }
    assert_eq!(began.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_waits_long_enough_overtakes_more_urgent_ones() {
    let queue = queue();
    let old = ticket(Priority::Low);
    queue.enqueue(old.clone()).await.unwrap();
    // Two ranks are two steps of 30 s.
    for (passed, expected) in
        [(0, Priority::High), (59, Priority::High), (1, Priority::High), (1, Priority::Low)]
    {
        tokio::time::advance(Duration::from_secs(passed)).await;
        queue.enqueue(ticket(Priority::High)).await.unwrap();
        let claimed = claim(&queue, HOUR, Duration::ZERO).await.unwrap();
        assert_eq!(claimed.ticket.priority, expected, "after {passed} s more");
    }
}

#[tokio::test(start_paused = true)]
async fn without_ageing_the_more_urgent_comes_first_for_ever() {
    let queue = MemoryQueue::bounded(10).with_ageing(Duration::MAX);
    queue.enqueue(ticket(Priority::Low)).await.unwrap();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    tokio::time::advance(HOUR * 24 * 365).await;
    queue.enqueue(ticket(Priority::High)).await.unwrap();
    for expected in [Priority::High, Priority::Normal, Priority::Low] {
        assert_eq!(claim(&queue, HOUR, Duration::ZERO).await.unwrap().ticket.priority, expected);
    }
}

/// Real threads and real time, and waits far longer than the test may take: a wake-up that is lost ends it. Nobody asks
/// the queue for anything between the bursts, for every call looks after what has run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_many_threads() {
    const BURSTS: usize = 300;
    let queue = queue();
    let (acked, mut acks) = tokio::sync::mpsc::unbounded_channel();
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let (queue, acked) = (Arc::clone(&queue), acked.clone());
            tokio::spawn(async move {
                for round in 0.. {
                    // Every so often a claim is dropped while it waits, at whatever point it has come to.
                    let patience = if round % 3 == 0 { Duration::from_micros(50) } else { HOUR };
                    let Ok(claimed) = timeout(patience, claim(&queue, HOUR, HOUR)).await else {
                        continue;
                    };
                    let claimed = claimed.unwrap();
                    match (number + round) % 5 {
                        0 => queue.nack(&claimed, Duration::ZERO).await.unwrap(),
                        1 => queue.nack(&claimed, Duration::from_millis(2)).await.unwrap(),
                        // Left to its lease.
                        2 => queue.extend(&claimed, Duration::from_millis(3)).await.unwrap(),
                        _ => {
                            queue.ack(&claimed).await.unwrap();
                            acked.send(()).unwrap();
                        }
                    }
                }
            })
        })
        .collect();
    let bursts = async {
        for burst in 0..BURSTS {
            for _ in 0..=burst % 5 {
                queue.enqueue(ticket(Priority::Normal)).await.unwrap();
            }
            for _ in 0..=burst % 5 {
                acks.recv().await.unwrap();
            }
        }
    };
    timeout(MINUTE, bursts).await.expect("every ticket is handed out until it is acknowledged");
    workers.iter().for_each(JoinHandle::abort);
}
