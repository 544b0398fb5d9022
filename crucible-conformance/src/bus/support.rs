//! Helpers of the cases.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventBus, EventFilter, EventKind, EventStream, Lagged,
    OutputStream, Timestamp, WorkerId,
};
use futures::StreamExt as _;
use tokio::time::timeout;

pub(super) type Subject = Arc<dyn EventBus>;

/// The time in which an expected event must arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time in which no unexpected event may arrive.
const SILENCE: Duration = Duration::from_millis(200);

/// Returns a journal entry. A bus does not verify the hash chain.
pub(super) fn entry(id: EvaluationId, sequence: u64) -> Arc<Event> {
    let kind = match sequence {
        1 => EventKind::Submitted { evaluation: Arc::new(Evaluation::command(["true"])) },
        2 => {
            EventKind::Started { attempt: 1, worker: WorkerId::new("w"), engine: "fake".to_owned() }
        }
        _ => EventKind::CancelRequested,
    };
    Arc::new(Event::sealed(id, sequence, Timestamp::now(), kind, Digest::ZERO))
}

/// Returns a chunk of output at an offset.
pub(super) fn output(id: EvaluationId, offset: u64, bytes: Bytes) -> Arc<Event> {
    Arc::new(Event::signal(
        id,
        2,
        EventKind::Output { stream: OutputStream::Stdout, offset, bytes },
    ))
}

pub(super) async fn listen(bus: &Subject, filter: EventFilter) -> EventStream {
    bus.subscribe(filter).await.unwrap()
}

pub(super) async fn publish(bus: &Subject, events: &[Arc<Event>]) {
    for event in events {
        bus.publish(Arc::clone(event)).await.unwrap();
    }
}

/// Returns the next item, which must arrive in time.
pub(super) async fn next(stream: &mut EventStream) -> Result<Arc<Event>, Lagged> {
    let item = timeout(PATIENCE, stream.next()).await.expect("an event arrives in time");
    item.expect("the stream continues")
}

pub(super) async fn assert_next(stream: &mut EventStream, expected: &[Arc<Event>]) {
    for event in expected {
        assert_eq!(next(stream).await.as_ref(), Ok(event));
    }
}

pub(super) async fn assert_silent(stream: &mut EventStream) {
    if let Ok(item) = timeout(SILENCE, stream.next()).await {
        panic!("unexpected event: {item:?}");
    }
}
