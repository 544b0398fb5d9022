//! Cases on subscriptions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crucible_core::{EvaluationId, Event, EventFilter, EventKind};

use super::support::{Subject, assert_next, assert_silent, entry, listen, next, output, publish};

/// A subscription begins when `subscribe` returns. Earlier events do not arrive.
pub async fn subscription_receives_only_later_events(bus: Subject) {
    let id = EvaluationId::new();
    publish(&bus, &[entry(id, 1)]).await;
    let mut stream = listen(&bus, EventFilter::all()).await;
    publish(&bus, &[entry(id, 2)]).await;
    assert_eq!(next(&mut stream).await.unwrap().sequence, 2);
    assert_silent(&mut stream).await;
}

/// Every subscriber receives every event.
pub async fn every_subscriber_receives_every_event(bus: Subject) {
    let id = EvaluationId::new();
    let mut streams = Vec::new();
    for number in 0..10 {
        let filter = if number % 2 == 0 { EventFilter::all() } else { EventFilter::evaluation(id) };
        streams.push(listen(&bus, filter).await);
    }
    let events: Vec<_> = (1..20).map(|sequence| entry(id, sequence)).collect();
    publish(&bus, &events).await;
    for stream in &mut streams {
        assert_next(stream, &events).await;
        assert_silent(stream).await;
    }
}

/// A filter passes exactly the events that match.
pub async fn filter_passes_exactly_the_matching_events(bus: Subject) {
    let (mine, yours) = (EvaluationId::new(), EvaluationId::new());
    let mut both = EventFilter::evaluation(mine);
    both.evaluations = Some([mine, yours].into());
    let filters = [
        EventFilter::all(),
        EventFilter::evaluation(mine),
        both,
        EventFilter::evaluation(EvaluationId::new()),
        EventFilter::all().with_kinds(["started", "output"]),
        EventFilter::all().with_kinds(["finished"]),
        EventFilter::all().without_signals(),
        EventFilter::evaluation(yours).with_kinds(["submitted", "output"]).without_signals(),
    ];
    let mut streams = Vec::new();
    for filter in &filters {
        streams.push(listen(&bus, filter.clone()).await);
    }
    let mut events = Vec::new();
    for id in [mine, yours] {
        events.extend([
            entry(id, 1),
            entry(id, 2),
            output(id, 0, Bytes::from_static(b"x")),
            entry(id, 3),
        ]);
    }
    publish(&bus, &events).await;
    for (filter, stream) in filters.iter().zip(&mut streams) {
        let wanted: Vec<_> = events.iter().filter(|event| filter.matches(event)).cloned().collect();
        assert_next(stream, &wanted).await;
        assert_silent(stream).await;
    }
}

/// A matching event wakes a waiting subscriber.
pub async fn waiting_subscriber_is_woken_by_matching_event(bus: Subject) {
    let id = EvaluationId::new();
    let mut stream = listen(&bus, EventFilter::evaluation(id)).await;
    let waiting = tokio::spawn(async move { next(&mut stream).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    publish(&bus, &[entry(EvaluationId::new(), 1)]).await;
    let event = entry(id, 1);
    publish(&bus, &[Arc::clone(&event)]).await;
    assert_eq!(waiting.await.unwrap(), Ok(event));
}

/// A subscriber that is too slow loses the oldest events, and receives their number before the next
/// event. The case publishes 80 MB, more than a buffer may hold.
pub async fn slow_subscriber_gets_count_of_missed_events(bus: Subject) {
    const EVENTS: u64 = 20_000;
    let id = EvaluationId::new();
    let mut slow = listen(&bus, EventFilter::evaluation(id)).await;
    let bytes = Bytes::from(vec![b'x'; 4096]);
    for offset in 0..EVENTS {
        publish(&bus, &[output(id, offset, bytes.clone())]).await;
    }
    let last = entry(id, 3);
    publish(&bus, &[Arc::clone(&last)]).await;
    let (mut expected, mut missed) = (0, 0);
    loop {
        match next(&mut slow).await {
            Err(lagged) => {
                assert!(lagged.missed > 0);
                expected += lagged.missed;
                missed += lagged.missed;
            }
            Ok(event) => match event.kind {
                EventKind::Output { offset, .. } => {
                    assert_eq!(
                        offset, expected,
                        "the number of missed events comes before the next event"
                    );
                    expected += 1;
                }
                _ => {
                    assert_eq!(event, last);
                    break;
                }
            },
        }
    }
    assert_eq!(expected, EVENTS);
    assert!(missed > 0, "the buffer of a subscriber that does not read is bounded");
    // A subscriber that has caught up receives every event again.
    let events = [entry(id, 4), entry(id, 5)];
    publish(&bus, &events).await;
    assert_next(&mut slow, &events).await;
}

/// Dropping the stream ends the subscription, and the bus releases the events of the stream.
pub async fn dropped_stream_ends_subscription(bus: Subject) {
    let id = EvaluationId::new();
    let mut other = listen(&bus, EventFilter::all()).await;
    for filter in
        [EventFilter::all(), EventFilter::evaluation(id), EventFilter::all().without_signals()]
    {
        let unread = entry(id, 1);
        let stream = listen(&bus, filter.clone()).await;
        publish(&bus, &[Arc::clone(&unread)]).await;
        drop(stream);
        assert_next(&mut other, &[Arc::clone(&unread)]).await;
        assert_released(&unread).await;
        let later = entry(id, 2);
        publish(&bus, &[Arc::clone(&later)]).await;
        assert_next(&mut other, &[Arc::clone(&later)]).await;
        assert_released(&later).await;
    }
}

/// Asserts that the case has the only reference to the event.
async fn assert_released(event: &Arc<Event>) {
    let began = Instant::now();
    while Arc::strong_count(event) > 1 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the bus keeps an event for a dropped stream"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
