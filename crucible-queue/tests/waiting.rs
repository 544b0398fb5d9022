//! Wake-ups of waiting claims: on time, one for each ticket, and none lost. Time is paused: it
//! advances only while all tasks wait.

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

/// Starts a task that waits for a ticket for an hour. The task is waiting when this returns.
async fn spawn_claim(queue: &Arc<MemoryQueue>) -> JoinHandle<Option<Claim>> {
    let queue = Arc::clone(queue);
    let task = tokio::spawn(async move { claim(&queue, HOUR, HOUR).await });
    run_tasks().await;
    task
}

/// Lets every task run until it waits. A few yields are enough, because there is one thread.
async fn run_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Counts the polls of a future.
async fn count_polls<T>(polls: Arc<AtomicUsize>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(context)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn enqueued_ticket_is_claimed_at_once() {
    let queue = queue();
    let task = spawn_claim(&queue).await;
    let began = Instant::now();
    let sent = ticket(Priority::Normal);
    queue.enqueue(sent.clone()).await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().ticket, sent);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn claim_without_tickets_ends_after_its_wait() {
    let queue = queue();
    let began = Instant::now();
    assert_eq!(claim(&queue, MINUTE, Duration::from_millis(1500)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
    assert_eq!(claim(&queue, MINUTE, Duration::ZERO).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn maximum_durations_are_accepted() {
    let queue = queue();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    let held = claim(&queue, Duration::MAX, Duration::MAX).await.unwrap();
    queue.extend(&held, Duration::MAX).await.unwrap();
    queue.nack(&held, Duration::MAX).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().delayed, 1);
    assert!(timeout(HOUR, claim(&queue, Duration::MAX, Duration::MAX)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn ended_lease_or_delay_wakes_waiting_claim() {
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
async fn earlier_deadline_reaches_waiting_claim() {
    let queue = queue();
    let began = Instant::now();
    for _ in 0..2 {
        queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    }
    let first = claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let second = claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let task = spawn_claim(&queue).await;
    queue.nack(&first, Duration::from_secs(20)).await.unwrap();
    run_tasks().await;
    queue.extend(&second, Duration::from_secs(10)).await.unwrap();
    let claimed = task.await.unwrap().unwrap();
    assert_eq!((claimed.ticket, began.elapsed()), (second.ticket, Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn dropped_claim_passes_its_wake_up_on() {
    let queue = queue();
    let mut tasks =
        vec![spawn_claim(&queue).await, spawn_claim(&queue).await, spawn_claim(&queue).await];
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    // The newest claim is woken, but its task has not run yet.
    tasks.pop().unwrap().abort();
    let began = Instant::now();
    let second = tasks.pop().unwrap();
    assert!(second.await.unwrap().is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn deadline_watcher_has_successor() {
    let queue = queue();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    let tasks = [spawn_claim(&queue).await, spawn_claim(&queue).await, spawn_claim(&queue).await];
    let began = Instant::now();
    let [first, second, third] = tasks;
    first.abort();
    run_tasks().await;
    second.abort();
    assert_eq!(third.await.unwrap().unwrap().expired_leases, 1);
    assert_eq!(began.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn lease_of_ticket_taken_before_wake_up_is_watched() {
    let queue = queue();
    let task = spawn_claim(&queue).await;
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    // The waiting claim is woken, but its task has not run yet.
    let lease = Duration::from_millis(100);
    claim(&queue, lease, Duration::ZERO).await.unwrap();
    let began = Instant::now();
    assert_eq!(task.await.unwrap().unwrap().expired_leases, 1);
    assert_eq!(began.elapsed(), lease);
}

#[tokio::test(start_paused = true)]
async fn ticket_and_ended_lease_wake_one_claim_each() {
    let queue = queue();
    let polls = Arc::new(AtomicUsize::new(0));
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    for _ in 0..50 {
        let (queue, polls) = (Arc::clone(&queue), Arc::clone(&polls));
        tokio::spawn(count_polls(polls, async move { claim(&queue, HOUR, HOUR).await }));
    }
    run_tasks().await;
    assert_eq!(polls.swap(0, Ordering::SeqCst), 50);
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    run_tasks().await;
    assert_eq!(polls.swap(0, Ordering::SeqCst), 1, "one for the ticket");
    tokio::time::sleep(MINUTE * 2).await;
    // The claim that watched the deadline took the ticket, so another one watches now.
    assert_eq!(
        polls.swap(0, Ordering::SeqCst),
        2,
        "one for the lease, and one to watch the deadline"
    );
    assert_eq!(queue.stats().await.unwrap().claimed, 2);
}

#[tokio::test(start_paused = true)]
async fn simultaneous_ends_wake_as_many_claims() {
    let queue = queue();
    for _ in 0..10 {
        queue.enqueue(ticket(Priority::Normal)).await.unwrap();
        claim(&queue, MINUTE, Duration::ZERO).await.unwrap();
    }
    let mut tasks = Vec::new();
    for _ in 0..10 {
        tasks.push(spawn_claim(&queue).await);
    }
    let began = Instant::now();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().expired_leases, 1);
    }
    assert_eq!(began.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn old_ticket_comes_before_higher_priorities() {
    let queue = queue();
    let old = ticket(Priority::Low);
    queue.enqueue(old.clone()).await.unwrap();
    // Two priority levels are two steps of 30 s.
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
async fn without_ageing_higher_priority_always_comes_first() {
    let queue = MemoryQueue::bounded(10).with_ageing(Duration::MAX);
    queue.enqueue(ticket(Priority::Low)).await.unwrap();
    queue.enqueue(ticket(Priority::Normal)).await.unwrap();
    tokio::time::advance(HOUR * 24 * 365).await;
    queue.enqueue(ticket(Priority::High)).await.unwrap();
    for expected in [Priority::High, Priority::Normal, Priority::Low] {
        assert_eq!(claim(&queue, HOUR, Duration::ZERO).await.unwrap().ticket.priority, expected);
    }
}

/// Uses real threads and real time. Claims wait far longer than the test may take, so a lost
/// wake-up fails the test. There are no calls between the bursts, because every call expires
/// leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claims_lose_no_wake_up() {
    const BURSTS: usize = 300;
    let queue = queue();
    let (acked, mut acks) = tokio::sync::mpsc::unbounded_channel();
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let (queue, acked) = (Arc::clone(&queue), acked.clone());
            tokio::spawn(async move {
                for round in 0.. {
                    // Drop some claims while they wait, at an arbitrary point.
                    let patience = if round % 3 == 0 { Duration::from_micros(50) } else { HOUR };
                    let Ok(claimed) = timeout(patience, claim(&queue, HOUR, HOUR)).await else {
                        continue;
                    };
                    let claimed = claimed.unwrap();
                    match (number + round) % 5 {
                        0 => queue.nack(&claimed, Duration::ZERO).await.unwrap(),
                        1 => queue.nack(&claimed, Duration::from_millis(2)).await.unwrap(),
                        // Let the lease expire.
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
    timeout(MINUTE, bursts).await.expect("every ticket is claimed until it is acknowledged");
    workers.iter().for_each(JoinHandle::abort);
}
