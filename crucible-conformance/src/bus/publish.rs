//! Cases on publishing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crucible_core::{EvaluationId, EventFilter, EventKind};
use tokio::task::JoinSet;

use super::support::{Subject, assert_next, entry, listen, next, output, publish};

/// A subscriber receives each event as it was published.
pub async fn subscriber_receives_events_as_published(bus: Subject) {
    let id = EvaluationId::new();
    let mut stream = listen(&bus, EventFilter::all()).await;
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    let events = [entry(id, 1), entry(id, 2), output(id, 7, bytes), entry(id, 3)];
    publish(&bus, &events).await;
    assert_next(&mut stream, &events).await;
}

/// Publishing without a subscriber succeeds.
pub async fn publish_without_subscribers_succeeds(bus: Subject) {
    for sequence in 1..100 {
        publish(&bus, &[entry(EvaluationId::new(), sequence)]).await;
    }
}

/// Publishing never waits for a subscriber, even if the subscriber does not read.
pub async fn publish_with_idle_subscriber_does_not_block(bus: Subject) {
    let id = EvaluationId::new();
    let _idle = listen(&bus, EventFilter::all()).await;
    let mut stream = listen(&bus, EventFilter::all().without_signals()).await;
    let began = Instant::now();
    let bytes = Bytes::from(vec![b'x'; 4096]);
    for offset in 0..10_000 {
        publish(&bus, &[output(id, offset, bytes.clone())]).await;
    }
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    let last = entry(id, 3);
    publish(&bus, &[Arc::clone(&last)]).await;
    assert_next(&mut stream, &[last]).await;
}

/// Events of one evaluation arrive in the order in which they were published, while other events
/// are published at the same time.
pub async fn events_of_one_evaluation_arrive_in_order(bus: Subject) {
    const EVENTS: u64 = 200;
    const EVALUATIONS: usize = 5;
    let mut stream = listen(&bus, EventFilter::all()).await;
    let mut publishers = JoinSet::new();
    for _ in 0..EVALUATIONS {
        let (bus, id) = (Arc::clone(&bus), EvaluationId::new());
        publishers.spawn(async move {
            for offset in 0..EVENTS {
                publish(&bus, &[output(id, offset, Bytes::from_static(b"x"))]).await;
                tokio::task::yield_now().await;
            }
            id
        });
    }
    let mut seen = std::collections::BTreeMap::<_, Vec<u64>>::new();
    for _ in 0..EVALUATIONS * usize::try_from(EVENTS).unwrap() {
        let event = next(&mut stream).await.unwrap();
        let EventKind::Output { offset, .. } = event.kind else { panic!("{event:?}") };
        seen.entry(event.evaluation).or_default().push(offset);
    }
    for id in publishers.join_all().await {
        assert_eq!(seen.remove(&id).unwrap(), (0..EVENTS).collect::<Vec<_>>());
    }
}
