//! What every [`EventBus`](crucible_core::EventBus) must do.

mod support;

suite! {
    $
    /// Makes a test of each case of [`bus`](crate::bus) for a kind of bus: the module's name, and a closure that makes a
    /// fresh bus.
    bus_conformance: bus with dyn EventBus;

    publish:
        a_listener_gets_what_is_published,
        publishing_to_nobody_is_no_error,
        publishing_never_waits_for_a_listener,
        events_of_one_evaluation_arrive_in_order;
    subscribe:
        listening_begins_now,
        everybody_who_listens_gets_every_event,
        a_filter_lets_through_what_it_asks_for_and_nothing_else,
        a_listener_waits_for_what_comes,
        a_slow_listener_loses_the_oldest_and_is_told_how_many,
        dropping_the_stream_ends_the_subscription;
}
