//! The stream of one evaluation's events.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};

use super::platform::Platform;
use crate::bus::{BusError, EventFilter, EventStream, Lagged};
use crate::journal::Event;
use crate::model::EvaluationId;
use crate::storage::StorageError;

/// The interval between reads of the journal while the bus is silent.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why [`Events`] lacks an item or ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The subscriber was too slow, and the bus dropped signals (live output) but no journal entry.
    #[error("live output was missed")]
    Lagged(#[source] Lagged),
    /// The storage failed. The stream ends.
    #[error("cannot read the journal")]
    Storage(#[source] StorageError),
    /// The bus is unavailable. The stream ends.
    #[error("cannot subscribe to live events")]
    Bus(#[source] BusError),
    /// The storage has no such evaluation. The stream ends.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
}

/// The events of one evaluation: first its journal, then new events and live output.
///
/// The stream has no gap and no repeat. Each signal comes after the entry that it follows. The
/// stream ends after the last journal entry, or with the platform.
pub struct Events(BoxStream<'static, Result<Arc<Event>, EventsError>>);

impl Events {
    pub(super) fn new(platform: Arc<Platform>, id: EvaluationId) -> Self {
        let cursor =
            EventCursor { platform, id, live: None, last: 0, ready: VecDeque::new(), done: false };
        Self(
            futures::stream::unfold(cursor, |mut cursor| async {
                let item = cursor.next().await?;
                Some((item, cursor))
            })
            .boxed(),
        )
    }
}

impl Stream for Events {
    type Item = Result<Arc<Event>, EventsError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A position in the events of one evaluation.
struct EventCursor {
    platform: Arc<Platform>,
    id: EvaluationId,
    /// The subscription. It starts before the first read of the journal.
    live: Option<EventStream>,
    /// The sequence of the last journal entry in `ready`.
    last: u64,
    ready: VecDeque<Result<Arc<Event>, EventsError>>,
    /// `true` if the stream ends after `ready`.
    done: bool,
}

impl EventCursor {
    async fn next(&mut self) -> Option<Result<Arc<Event>, EventsError>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fill().await {
                self.done = true;
                return Some(Err(error));
            }
        }
    }

    /// Waits for a live event or a timeout, and makes the next items ready.
    async fn fill(&mut self) -> Result<(), EventsError> {
        let Some(live) = self.live.as_mut() else {
            let filter = EventFilter::evaluation(self.id);
            self.live =
                Some(self.platform.bus().subscribe(filter).await.map_err(EventsError::Bus)?);
            return self.catch_up(Vec::new()).await;
        };
        let item = tokio::select! {
            item = live.next() => item,
            () = tokio::time::sleep(POLL_INTERVAL) => return self.catch_up(Vec::new()).await,
            () = self.platform.closed.cancelled() => {
                self.catch_up(Vec::new()).await?;
                self.done = true;
                return Ok(());
            }
        };
        match item {
            Some(Ok(event)) if event.kind.is_signal() && event.sequence <= self.last => {
                self.ready.push_back(Ok(event));
                Ok(())
            }
            Some(Ok(event)) if event.sequence == self.last + 1 && !event.kind.is_signal() => {
                self.make_ready(event);
                Ok(())
            }
            // The journal had this entry already.
            Some(Ok(event)) if event.sequence <= self.last => Ok(()),
            // A gap, or a signal that came before its entry: the journal has the missing entries.
            Some(item) => self.catch_up(vec![item]).await,
            // The bus ended the subscription before the evaluation ended.
            None => {
                self.catch_up(Vec::new()).await?;
                self.live = None;
                if !self.done {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Ok(())
            }
        }
    }

    /// Reads the new journal entries, and inserts the received signals after their entries.
    async fn catch_up(
        &mut self,
        mut received: Vec<Result<Arc<Event>, Lagged>>,
    ) -> Result<(), EventsError> {
        // The received events are collected before the journal is read: then the journal has every
        // entry that the bus has published or lost so far.
        if let Some(stream) = self.live.as_mut() {
            while let Some(Some(item)) = stream.next().now_or_never() {
                received.push(item);
            }
        }
        let journal = self.platform.storage().journal(self.id, self.last);
        let entries = journal.await.map_err(EventsError::Storage)?;
        if self.last == 0 && entries.is_empty() {
            return Err(EventsError::Unknown { evaluation: self.id });
        }
        let mut events: Vec<Arc<Event>> = entries.into_iter().map(Arc::new).collect();
        for item in received {
            match item {
                Ok(event) if event.kind.is_signal() => events.push(event),
                Ok(_) => {}
                Err(lagged) => self.ready.push_back(Err(EventsError::Lagged(lagged))),
            }
        }
        // The sort is stable: signals keep their order.
        events.sort_by_key(|event| (event.sequence, event.kind.is_signal()));
        for event in events {
            self.make_ready(event);
        }
        Ok(())
    }

    fn make_ready(&mut self, event: Arc<Event>) {
        if !event.kind.is_signal() {
            self.last = event.sequence;
            self.done |= event.kind.is_terminal();
        }
        self.ready.push_back(Ok(event));
    }
}
