//! Cases on statistics.

use std::time::{Duration, Instant};

use crucible_core::QueueStats;

use super::CAPACITY;
use super::support::{LONG, PATIENCE, SHORT, Subject, put, put_and_take};

/// The statistics count ready, delayed and claimed tickets.
pub async fn stats_count_ready_delayed_and_claimed_tickets(queue: Subject) {
    let stats = |ready, delayed, claimed| QueueStats::new(ready, delayed, claimed, Some(CAPACITY));
    assert_eq!(queue.stats().await.unwrap(), stats(0, 0, 0));
    let claims =
        [put_and_take(&queue).await, put_and_take(&queue).await, put_and_take(&queue).await];
    for _ in 0..3 {
        put(&queue).await;
    }
    assert_eq!(queue.stats().await.unwrap(), stats(3, 0, 3));
    queue.nack(&claims[0], LONG).await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), stats(3, 1, 2));
    queue.nack(&claims[1], Duration::ZERO).await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), stats(4, 1, 1));
    queue.ack(&claims[2]).await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), stats(4, 1, 0));
    assert!(queue.remove(claims[0].ticket.evaluation).await.unwrap());
    assert_eq!(queue.stats().await.unwrap(), stats(4, 0, 0));
    // An expired lease makes its ticket ready without a further call.
    let began = Instant::now();
    assert!(queue.claim(&claims[1].worker, SHORT, PATIENCE).await.unwrap().is_some());
    while queue.stats().await.unwrap() != stats(4, 0, 0) {
        assert!(began.elapsed() < PATIENCE, "{:?}", queue.stats().await);
        tokio::time::sleep(SHORT / 10).await;
    }
}
