//! What the cases share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Claim, EvaluationId, Priority, Queue, QueueError, Ticket, WorkerId};
use tokio::time::timeout;

pub(super) type Subject = Arc<dyn Queue>;

/// A lease that does not run out during a case.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// A lease or a delay whose end a case waits for.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// How long a case waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a case waits for what must not come.
pub(super) const SILENCE: Duration = Duration::from_millis(200);
/// By how much clocks may differ, and be rounded.
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

/// Puts a fresh ticket.
pub(super) async fn put(queue: &Subject) -> Ticket {
    let ticket = ticket();
    queue.enqueue(ticket.clone()).await.unwrap();
    ticket
}

/// Claims a ticket that is there, or must come.
pub(super) async fn take(queue: &Subject, lease: Duration) -> Claim {
    queue.claim(&worker(), lease, PATIENCE).await.unwrap().expect("there is a ticket")
}

/// Puts a fresh ticket and claims it.
pub(super) async fn held(queue: &Subject) -> Claim {
    put(queue).await;
    take(queue, LONG).await
}

pub(super) async fn assert_nothing_comes(queue: &Subject) {
    let claimed = queue.claim(&worker(), LONG, SILENCE).await.unwrap();
    assert_eq!(claimed, None, "this ticket must not be handed out");
}

pub(super) fn assert_lost(answer: Result<(), QueueError>, claim: &Claim) {
    let lost = claim.ticket.evaluation;
    assert!(
        matches!(answer, Err(QueueError::Lost { evaluation }) if evaluation == lost),
        "{answer:?} where the claim is lost"
    );
}

/// Drops a call some time after it began; says what came of it if it was faster.
pub(super) async fn dropped<T>(call: impl Future<Output = T>, after: Duration) -> Option<T> {
    timeout(after, call).await.ok()
}

/// Moments at which calls are dropped: at the first wait, and later and later.
pub(super) fn moments() -> impl Iterator<Item = Duration> {
    [0, 0, 50, 200, 500, 1000, 2000].into_iter().map(Duration::from_micros)
}
