//! The cases for every [`Queue`](crucible_core::Queue).

mod support;

/// The capacity of the queue under test, in tickets.
pub const CAPACITY: u64 = 16;

suite! {
    $
    /// Generates a test for each case of [`queue`](crate::queue). The arguments are the name of a
    /// module and a closure that creates a new queue with a capacity of
    /// [`queue::CAPACITY`](crate::queue::CAPACITY).
    queue_conformance: queue with dyn Queue;

    enqueue:
        enqueued_ticket_can_be_claimed_at_once,
        full_queue_refuses_and_drops_nothing,
        second_ticket_of_evaluation_is_duplicate,
        dropped_enqueue_adds_ticket_once_or_not_at_all;
    claim:
        ticket_has_one_holder_at_a_time,
        expired_lease_returns_ticket_with_higher_count,
        claim_without_ticket_times_out_with_none,
        waiting_claim_receives_new_ticket,
        claim_reports_how_long_ticket_was_ready,
        dropped_claim_loses_no_ticket;
    order:
        higher_priority_is_claimed_first,
        tickets_of_one_tenant_are_fifo,
        tenants_take_turns;
    extend:
        extended_claim_is_not_handed_out,
        extended_lease_ends_after_requested_time,
        expired_claim_is_lost;
    settle:
        acked_ticket_is_gone,
        dropped_ack_leaves_ticket_gone_or_claimed,
        nack_does_not_count_as_expired_lease,
        nack_on_full_queue_succeeds,
        delayed_ticket_waits_for_its_delay,
        dropped_nack_leaves_ticket_returned_or_claimed,
        settled_claim_is_lost;
    remove:
        waiting_ticket_can_be_removed,
        delayed_ticket_can_be_removed,
        removed_claimed_ticket_loses_its_claim,
        remove_of_unknown_ticket_returns_false;
    stats:
        stats_count_ready_delayed_and_claimed_tickets;
}
