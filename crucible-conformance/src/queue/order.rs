//! Cases on the order of tickets.

use crucible_core::{EvaluationId, Priority};

use super::support::{LONG, Subject, take, ticket_of};

/// Enqueues a ticket for each letter, which is the tenant.
async fn put_all(queue: &Subject, tenants: &str) -> Vec<EvaluationId> {
    let mut ids = Vec::new();
    for tenant in tenants.chars() {
        let ticket = ticket_of(&tenant.to_string(), Priority::Normal);
        ids.push(ticket.evaluation);
        queue.enqueue(ticket).await.unwrap();
    }
    ids
}

/// A ticket with a higher priority is claimed first.
pub async fn higher_priority_is_claimed_first(queue: Subject) {
    use Priority::{High, Low, Normal};
    for priority in [Low, High, Normal, Low, High, Normal] {
        queue.enqueue(ticket_of("", priority)).await.unwrap();
    }
    for expected in [High, High, Normal, Normal, Low, Low] {
        assert_eq!(take(&queue, LONG).await.ticket.priority, expected);
    }
}

/// Within a priority, each tenant's tickets are first-in, first-out.
pub async fn tickets_of_one_tenant_are_fifo(queue: Subject) {
    let ids = put_all(&queue, "aaaaaaaa").await;
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(take(&queue, LONG).await.ticket.evaluation, id, "number {number}");
    }
}

/// Within a priority, tenants take turns. A tenant with many tickets does not delay the others.
pub async fn tenants_take_turns(queue: Subject) {
    let ids = put_all(&queue, "aaaaabbc").await;
    let mut claimed = Vec::new();
    for _ in &ids {
        claimed.push(take(&queue, LONG).await.ticket);
    }
    let tenants: Vec<&str> = claimed.iter().map(|ticket| ticket.tenant.as_str()).collect();
    let sorted = |round: &[&str]| {
        let mut round = round.to_vec();
        round.sort_unstable();
        round.concat()
    };
    assert_eq!(sorted(&tenants[..3]), "abc", "the first round of {tenants:?}");
    assert_eq!(sorted(&tenants[3..5]), "ab", "the second round of {tenants:?}");
    for (tenant, own) in [("a", &ids[..5]), ("b", &ids[5..7]), ("c", &ids[7..])] {
        let order: Vec<_> = claimed
            .iter()
            .filter(|ticket| ticket.tenant == tenant)
            .map(|ticket| ticket.evaluation)
            .collect();
        assert_eq!(order, own, "the tickets of {tenant}");
    }
}
