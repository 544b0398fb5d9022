//! The bus of a single process.

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

/// How many events a listener may be behind.
const EVENTS_MAX: usize = 4096;
/// How many bytes of input and output a listener may be behind: 16 MiB, as much as the default output limit of one run.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Passes events on within this process, through one bounded ring a listener.
///
/// A listener may be 4096 events, or 16 MiB of input and output in them, behind; then the oldest are dropped and it is
/// told how many. The newest stays, however large.
/// Publishing takes a lock for the time of a push: it waits for nobody.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<Registry>);

#[derive(Default)]
struct Registry {
    /// How many listeners there are, so that publishing to nobody takes no lock.
    count: AtomicUsize,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    next_key: u64,
    /// Those who want some evaluations only, by evaluation: publishing must not walk past thousands of handles.
    by_evaluation: HashMap<EvaluationId, Vec<(u64, Arc<Listener>)>>,
    of_all: Vec<(u64, Arc<Listener>)>,
}

struct Listener {
    filter: EventFilter,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    missed: u64,
    waker: Option<Waker>,
}

impl LocalBus {
    /// A bus without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many listeners there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").field("listeners", &self.subscribers()).finish()
    }
}

/// Every lock here guards plain data that is consistent between statements, so a panic elsewhere spoils nothing.
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
            let listeners = lock(&self.0.listeners);
            let interested = listeners.by_evaluation.get(&event.evaluation).into_iter().flatten();
            for (_, listener) in interested.chain(&listeners.of_all) {
                if listener.filter.matches(&event) {
                    woken.extend(listener.push(&event));
                }
            }
        }
        woken.into_iter().for_each(Waker::wake);
        Ok(())
    }

    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        let listener = Arc::new(Listener { filter, ring: Mutex::default() });
        let mut listeners = lock(&self.0.listeners);
        let key = listeners.next_key;
        listeners.next_key += 1;
        match &listener.filter.evaluations {
            Some(ids) => {
                for id in ids {
                    listeners
                        .by_evaluation
                        .entry(*id)
                        .or_default()
                        .push((key, Arc::clone(&listener)));
                }
            }
            None => listeners.of_all.push((key, Arc::clone(&listener))),
        }
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Ok(Box::pin(Subscription { key, listener, registry: Arc::clone(&self.0) }))
    }
}

impl Listener {
    fn push(&self, event: &Arc<Event>) -> Option<Waker> {
        let mut ring = lock(&self.ring);
        ring.bytes += weight(event);
        ring.events.push_back(Arc::clone(event));
        while ring.events.len() > EVENTS_MAX || (ring.bytes > BYTES_MAX && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= weight(&oldest);
            ring.missed += 1;
        }
        ring.waker.take()
    }
}

/// The bytes of an event that callers and guests decide on: input, and output whether live or captured.
fn weight(event: &Event) -> usize {
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
    listener: Arc<Listener>,
    registry: Arc<Registry>,
}

impl Stream for Subscription {
    type Item = Result<Arc<Event>, Lagged>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut ring = lock(&self.listener.ring);
        if ring.missed > 0 {
            let missed = std::mem::take(&mut ring.missed);
            return Poll::Ready(Some(Err(Lagged::new(missed))));
        }
        match ring.events.pop_front() {
            Some(event) => {
                ring.bytes -= weight(&event);
                Poll::Ready(Some(Ok(event)))
            }
            None => {
                ring.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = lock(&self.registry.listeners);
        match &self.listener.filter.evaluations {
            Some(ids) => {
                for id in ids {
                    if let Some(of_one) = listeners.by_evaluation.get_mut(id) {
                        of_one.retain(|(key, _)| *key != self.key);
                        if of_one.is_empty() {
                            listeners.by_evaluation.remove(id);
                        }
                    }
                }
            }
            None => listeners.of_all.retain(|(key, _)| *key != self.key),
        }
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
    async fn a_dropped_subscription_is_forgotten() {
        let bus = LocalBus::new();
        let id = EvaluationId::new();
        let streams = (
            bus.subscribe(EventFilter::all()).await.unwrap(),
            bus.subscribe(EventFilter::evaluation(id)).await.unwrap(),
        );
        assert_eq!(bus.subscribers(), 2);
        drop(streams);
        assert_eq!(bus.subscribers(), 0);
        assert!(lock(&bus.0.listeners).by_evaluation.is_empty());
        assert!(lock(&bus.0.listeners).of_all.is_empty());
    }

    #[tokio::test]
    async fn captured_output_and_input_count_and_the_newest_event_stays() {
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
        assert_eq!(lock(&bus.0.listeners).of_all[0].1.ring.lock().unwrap().bytes, 0);
    }

    #[tokio::test]
    async fn a_slow_listener_is_bounded_in_bytes_and_told_what_it_missed() {
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
