//! What every [`Queue`](crucible_core::Queue) must do.

mod support;

/// How many tickets must have room in the queue under test.
pub const CAPACITY: u64 = 16;

suite! {
    $
    /// Makes a test of each case of [`queue`](crate::queue) for a kind of queue: the module's name, and a closure that
    /// makes a fresh queue with a capacity of [`queue::CAPACITY`](crate::queue::CAPACITY).
    queue_conformance: queue with dyn Queue;

    enqueue:
        a_ticket_can_be_claimed_at_once,
        a_full_queue_refuses_and_drops_nothing,
        an_evaluation_has_one_ticket_at_a_time,
        an_enqueue_that_is_dropped_puts_the_ticket_once_or_not_at_all;
    claim:
        a_ticket_has_one_holder_at_a_time,
        a_ticket_whose_lease_ran_out_comes_back_with_one_more_death,
        no_ticket_in_time_is_none,
        a_waiting_claim_gets_the_ticket_that_comes,
        a_claim_says_how_long_its_ticket_was_ready,
        a_claim_that_is_dropped_loses_no_ticket;
    order:
        the_more_urgent_comes_first,
        a_tenants_tickets_come_in_order,
        tenants_take_turns;
    extend:
        an_extended_claim_is_not_handed_out,
        a_lease_ends_as_long_after_the_extension_as_was_asked,
        a_claim_that_ran_out_is_lost;
    settle:
        an_acknowledged_ticket_is_gone,
        an_ack_that_is_dropped_leaves_the_ticket_gone_or_claimed,
        giving_back_is_no_death,
        giving_back_needs_no_room,
        a_delayed_ticket_is_not_handed_out_before_its_time,
        a_nack_that_is_dropped_leaves_the_ticket_given_back_or_claimed,
        a_settled_claim_is_lost;
    remove:
        a_waiting_ticket_can_be_removed,
        a_delayed_ticket_can_be_removed,
        a_claimed_ticket_can_be_removed_and_the_claim_is_lost,
        what_is_not_there_cannot_be_removed;
    stats:
        ready_delayed_and_claimed_are_told_apart;
}
