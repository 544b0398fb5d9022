//! What the cases share.

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

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a case waits for what must not come.
const SILENCE: Duration = Duration::from_millis(200);

/// An entry of some journal. Buses do not look at chains.
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

/// A piece of output that says how much came before it.
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

/// What comes next, and must come.
pub(super) async fn next(stream: &mut EventStream) -> Result<Arc<Event>, Lagged> {
    let item = timeout(PATIENCE, stream.next()).await.expect("something comes in time");
    item.expect("the stream goes on")
}

pub(super) async fn assert_next(stream: &mut EventStream, expected: &[Arc<Event>]) {
    for event in expected {
        assert_eq!(next(stream).await.as_ref(), Ok(event));
    }
}

pub(super) async fn assert_silent(stream: &mut EventStream) {
    if let Ok(item) = timeout(SILENCE, stream.next()).await {
        panic!("{item:?} where nothing was to come");
    }
}
