//! Helpers of the cases.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Claim, EvaluationId, Priority, Queue, QueueError, Ticket, WorkerId};
use tokio::time::timeout;

pub(super) type Subject = Arc<dyn Queue>;

/// A lease that does not expire during a case.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// A lease or a delay that a case waits for.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// The time in which an expected ticket must arrive.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The time in which no unexpected ticket may arrive.
pub(super) const SILENCE: Duration = Duration::from_millis(200);
/// The tolerance for different and rounded clocks.
pub(super) const CLOCK: Duration = Duration::from_millis(20);

pub(super) fn ticket() -> Ticket {
    ticket_of("", Priority::Normal)
}

pub(super) fn ticket_of(tenant: &str, priority: Priority) -> Ticket {
    Ticket::new(EvaluationId::new(), priority, tenant)
}

pub(super) fn worker() -> WorkerId {
    WorkerId::new("conformance/0")
}

/// Enqueues a new ticket.
pub(super) async fn put(queue: &Subject) -> Ticket {
    let ticket = ticket();
    queue.enqueue(ticket.clone()).await.unwrap();
    ticket
}

/// Claims a ticket, which must arrive in time.
pub(super) async fn take(queue: &Subject, lease: Duration) -> Claim {
    queue.claim(&worker(), lease, PATIENCE).await.unwrap().expect("there is a ticket")
}

/// Enqueues a new ticket and claims it.
pub(super) async fn put_and_take(queue: &Subject) -> Claim {
    put(queue).await;
    take(queue, LONG).await
}

pub(super) async fn assert_nothing_ready(queue: &Subject) {
    let claimed = queue.claim(&worker(), LONG, SILENCE).await.unwrap();
    assert_eq!(claimed, None, "the queue handed out an unexpected ticket");
}

pub(super) fn assert_claim_lost(answer: Result<(), QueueError>, claim: &Claim) {
    let lost = claim.ticket.evaluation;
    assert!(
        matches!(answer, Err(QueueError::Lost { evaluation }) if evaluation == lost),
        "the queue returned {answer:?} for a lost claim"
    );
}

/// Drops a call after some time. Returns its result if the call was faster.
pub(super) async fn dropped<T>(call: impl Future<Output = T>, after: Duration) -> Option<T> {
    timeout(after, call).await.ok()
}

/// Returns the times after which calls are dropped, from the first wait on.
pub(super) fn drop_delays() -> impl Iterator<Item = Duration> {
    [0, 0, 50, 200, 500, 1000, 2000].into_iter().map(Duration::from_micros)
}
