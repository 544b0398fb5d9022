//! The cases for every [`EventBus`](crucible_core::EventBus).

mod support;

suite! {
    $
    /// Generates a test for each case of [`bus`](crate::bus). The arguments are the name of a
    /// module and a closure that creates a new bus.
    bus_conformance: bus with dyn EventBus;

    publish:
        subscriber_receives_events_as_published,
        publish_without_subscribers_succeeds,
        publish_with_idle_subscriber_does_not_block,
        events_of_one_evaluation_arrive_in_order;
    subscribe:
        subscription_receives_only_later_events,
        every_subscriber_receives_every_event,
        filter_passes_exactly_the_matching_events,
        waiting_subscriber_is_woken_by_matching_event,
        slow_subscriber_gets_count_of_missed_events,
        dropped_stream_ends_subscription;
}
