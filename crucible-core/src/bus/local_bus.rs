//! The bus inside one process.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures::Stream;

use super::event_bus::{BusError, EventBus, EventFilter, EventStream, Lagged};
use crate::journal::{Event, EventKind};
use crate::model::EvaluationId;
use crate::result::Outcome;

/// The largest number of events in a buffer.
const MAX_EVENTS: usize = 4096;
/// The largest number of input and output bytes in a buffer: 16 MiB, the default output limit of
/// one run.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Publishes events inside this process, through one bounded buffer per subscriber.
///
/// A buffer holds up to 4096 events with up to 16 MiB of input and output. A full buffer drops its
/// oldest events, and the subscriber gets their number. The newest event always stays.
///
/// Publishing holds a lock while it pushes into the buffers. It does not wait for subscribers.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<SubscriberRegistry>);

#[derive(Default)]
struct SubscriberRegistry {
    /// The number of subscribers. Without subscribers, publishing takes no lock.
    count: AtomicUsize,
    subscribers: Mutex<SubscriberTable>,
}

#[derive(Default)]
struct SubscriberTable {
    next_key: u64,
    /// The subscribers to single evaluations. Publishing must not scan thousands of handles.
    by_evaluation: HashMap<EvaluationId, Vec<(u64, Arc<Subscriber>)>>,
    to_all: Vec<(u64, Arc<Subscriber>)>,
}

struct Subscriber {
    filter: EventFilter,
    buffer: Mutex<EventBuffer>,
}

#[derive(Default)]
struct EventBuffer {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    missed: u64,
    waker: Option<Waker>,
}

impl LocalBus {
    /// Creates a bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of subscribers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").field("subscribers", &self.subscribers()).finish()
    }
}

/// Locks a mutex. All mutexes here guard plain data that is consistent between statements, so a
/// poisoned one is safe to use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl EventBus for LocalBus {
    async fn publish(&self, event: Arc<Event>) -> Result<(), BusError> {
        if self.subscribers() == 0 {
            return Ok(());
        }
        let mut woken = Vec::new();
        {
            let subscribers = lock(&self.0.subscribers);
            let to_one = subscribers.by_evaluation.get(&event.evaluation).into_iter().flatten();
            for (_, subscriber) in to_one.chain(&subscribers.to_all) {
                if subscriber.filter.matches(&event) {
                    woken.extend(subscriber.push(&event));
                }
            }
        }
        woken.into_iter().for_each(Waker::wake);
        Ok(())
    }

    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        let subscriber = Arc::new(Subscriber { filter, buffer: Mutex::default() });
        let key = lock(&self.0.subscribers).add(&subscriber);
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Ok(Box::pin(Subscription { key, subscriber, registry: Arc::clone(&self.0) }))
    }
}

impl SubscriberTable {
    /// Adds a subscriber and returns its key.
    fn add(&mut self, subscriber: &Arc<Subscriber>) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        match &subscriber.filter.evaluations {
            Some(ids) => {
                for id in ids {
                    let to_one = self.by_evaluation.entry(*id).or_default();
                    to_one.push((key, Arc::clone(subscriber)));
                }
            }
            None => self.to_all.push((key, Arc::clone(subscriber))),
        }
        key
    }

    fn remove(&mut self, key: u64, filter: &EventFilter) {
        let Some(ids) = &filter.evaluations else {
            self.to_all.retain(|(other, _)| *other != key);
            return;
        };
        for id in ids {
            if let Some(to_one) = self.by_evaluation.get_mut(id) {
                to_one.retain(|(other, _)| *other != key);
                if to_one.is_empty() {
                    self.by_evaluation.remove(id);
                }
            }
        }
    }
}

impl Subscriber {
    /// Adds an event to the buffer and returns the waker of a waiting stream.
    fn push(&self, event: &Arc<Event>) -> Option<Waker> {
        let mut buffer = lock(&self.buffer);
        buffer.bytes += payload_size(event);
        buffer.events.push_back(Arc::clone(event));
        while buffer.events.len() > MAX_EVENTS
            || (buffer.bytes > MAX_BYTES && buffer.events.len() > 1)
        {
            let Some(oldest) = buffer.events.pop_front() else { break };
            buffer.bytes -= payload_size(&oldest);
            buffer.missed += 1;
        }
        buffer.waker.take()
    }
}

/// Returns the number of bytes in an event that callers and guests control: input, and live or
/// captured output.
fn payload_size(event: &Event) -> usize {
    let captured = |outcome: &Outcome| {
        [&outcome.stdout, &outcome.stderr]
            .map(|stream| stream.head.len() + stream.tail.len())
            .iter()
            .sum()
    };
    match &event.kind {
        EventKind::Output { bytes, .. } => bytes.len(),
        EventKind::Submitted { evaluation } => {
            let files = evaluation.files.iter().map(|file| file.content.len());
            files.sum::<usize>() + evaluation.stdin.len()
        }
        EventKind::Finished { outcome } | EventKind::Cancelled { outcome: Some(outcome), .. } => {
            captured(outcome)
        }
        _ => 0,
    }
}

struct Subscription {
    key: u64,
    subscriber: Arc<Subscriber>,
    registry: Arc<SubscriberRegistry>,
}

impl Stream for Subscription {
    type Item = Result<Arc<Event>, Lagged>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut buffer = lock(&self.subscriber.buffer);
        if buffer.missed > 0 {
            let missed = std::mem::take(&mut buffer.missed);
            return Poll::Ready(Some(Err(Lagged::new(missed))));
        }
        match buffer.events.pop_front() {
            Some(event) => {
                buffer.bytes -= payload_size(&event);
                Poll::Ready(Some(Ok(event)))
            }
            None => {
                buffer.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.registry.subscribers).remove(self.key, &self.subscriber.filter);
        self.registry.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::model::{Digest, Evaluation, Timestamp};
    use crate::result::{Captured, OutputStream};

    fn output(id: EvaluationId, size: usize) -> Arc<Event> {
        let bytes = Bytes::from(vec![0; size]);
        Arc::new(Event::signal(
            id,
            1,
            EventKind::Output { stream: OutputStream::Stdout, offset: 0, bytes },
        ))
    }

    #[tokio::test]
    async fn dropped_subscription_is_removed() {
        let bus = LocalBus::new();
        let id = EvaluationId::new();
        let streams = (
            bus.subscribe(EventFilter::all()).await.unwrap(),
            bus.subscribe(EventFilter::evaluation(id)).await.unwrap(),
        );
        assert_eq!(bus.subscribers(), 2);
        drop(streams);
        assert_eq!(bus.subscribers(), 0);
        assert!(lock(&bus.0.subscribers).by_evaluation.is_empty());
        assert!(lock(&bus.0.subscribers).to_all.is_empty());
    }

    #[tokio::test]
    async fn buffer_counts_payload_and_keeps_the_newest_event() {
        let bus = LocalBus::new();
        let id = EvaluationId::new();
        let mut stream = bus.subscribe(EventFilter::all()).await.unwrap();
        let mebibytes = |count: usize| Bytes::from(vec![0; count * 1024 * 1024]);
        let evaluation =
            Evaluation::command(["cat"]).with_stdin(mebibytes(5)).with_file("f", mebibytes(5));
        let outcome = Outcome::new("e", Vec::new())
            .with_output(Captured::complete(mebibytes(9)), Captured::complete(mebibytes(9)));
        let submitted = EventKind::Submitted { evaluation: evaluation.into() };
        let finished = EventKind::Finished { outcome: outcome.into() };
        let ten = Arc::new(Event::sealed(id, 1, Timestamp::now(), submitted, Digest::ZERO));
        let eighteen = Arc::new(Event::sealed(id, 2, Timestamp::now(), finished, Digest::ZERO));
        bus.publish(Arc::clone(&ten)).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), Ok(Arc::clone(&ten)));
        bus.publish(Arc::clone(&ten)).await.unwrap();
        bus.publish(ten).await.unwrap();
        bus.publish(Arc::clone(&eighteen)).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), Err(Lagged::new(2)));
        assert_eq!(stream.next().await.unwrap(), Ok(eighteen));
        assert_eq!(lock(&bus.0.subscribers).to_all[0].1.buffer.lock().unwrap().bytes, 0);
    }

    #[tokio::test]
    async fn slow_subscriber_is_bounded_in_bytes_and_gets_lagged() {
        let bus = LocalBus::new();
        let id = EvaluationId::new();
        let mut stream = bus.subscribe(EventFilter::all()).await.unwrap();
        for _ in 0..20 {
            bus.publish(output(id, 1024 * 1024)).await.unwrap();
        }
        assert_eq!(stream.next().await.unwrap(), Err(Lagged::new(4)));
        let mut rest = 0;
        while let Some(Some(event)) = stream.next().now_or_never() {
            event.unwrap();
            rest += 1;
        }
        assert_eq!(rest, 16);
    }
}
