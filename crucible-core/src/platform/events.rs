//! One evaluation's events: journal first, then live, without gap or repeat.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};

use super::shared::Shared;
use crate::bus::{BusError, EventFilter, EventStream, Lagged};
use crate::journal::Event;
use crate::model::EvaluationId;
use crate::storage::StorageError;

/// How often the journal is read while the bus says nothing.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why an item of [`Events`] is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// Signals (live output) were dropped because this listener was too slow. Journal entries were not.
    #[error("live output was missed")]
    Lagged(#[source] Lagged),
    /// The journal cannot be read. The stream ends.
    #[error("the journal cannot be read")]
    Storage(#[source] StorageError),
    /// The bus is away. The stream ends.
    #[error("live events cannot be heard")]
    Bus(#[source] BusError),
    /// There is no such evaluation in this storage. The stream ends.
    #[error("there is no evaluation {evaluation}")]
    Unknown {
        /// The evaluation.
        evaluation: EvaluationId,
    },
}

/// The events of one evaluation: its journal from the first entry, then what happens, live output among it; without
/// gap or repeat, and with each signal after the entry that it follows. Ends after the journal's last entry, or with
/// the platform.
pub struct Events(BoxStream<'static, Result<Arc<Event>, EventsError>>);

impl Events {
    pub(super) fn new(shared: Arc<Shared>, id: EvaluationId) -> Self {
        let source =
            Source { shared, id, live: None, last: 0, ready: VecDeque::new(), done: false };
        Self(
            futures::stream::unfold(source, |mut source| async {
                let item = source.next().await?;
                Some((item, source))
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

struct Source {
    shared: Arc<Shared>,
    id: EvaluationId,
    /// Subscribed to before the journal is read for the first time.
    live: Option<EventStream>,
    /// The sequence of the last journal entry that was made ready.
    last: u64,
    ready: VecDeque<Result<Arc<Event>, EventsError>>,
    done: bool,
}

impl Source {
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

    /// Makes the next items ready, or waits until there may be some.
    async fn fill(&mut self) -> Result<(), EventsError> {
        let Some(live) = self.live.as_mut() else {
            let filter = EventFilter::evaluation(self.id);
            self.live = Some(self.shared.bus.subscribe(filter).await.map_err(EventsError::Bus)?);
            return self.catch_up(Vec::new()).await;
        };
        let item = tokio::select! {
            item = live.next() => item,
            () = tokio::time::sleep(ASK_AGAIN) => return self.catch_up(Vec::new()).await,
            () = self.shared.closed.cancelled() => {
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
            // Seen before.
            Some(Ok(event)) if event.sequence <= self.last => Ok(()),
            // A gap, or a signal that ran ahead of its entry: the journal fills it.
            Some(item) => self.catch_up(vec![item]).await,
            // The bus ended the subscription, not the evaluation: a new one, after the journal.
            None => {
                self.catch_up(Vec::new()).await?;
                self.live = None;
                if !self.done {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Ok(())
            }
        }
    }

    /// Reads the journal on from the last entry, and puts signals that have already come behind the entries that they
    /// follow.
    async fn catch_up(
        &mut self,
        mut live: Vec<Result<Arc<Event>, Lagged>>,
    ) -> Result<(), EventsError> {
        // First what has come, then the journal: it has every entry that was told of. The other way round, an entry that
        // the bus lost between two would be missed.
        if let Some(stream) = self.live.as_mut() {
            while let Some(Some(item)) = stream.next().now_or_never() {
                live.push(item);
            }
        }
        let entries =
            self.shared.storage.journal(self.id, self.last).await.map_err(EventsError::Storage)?;
        if self.last == 0 && entries.is_empty() {
            return Err(EventsError::Unknown { evaluation: self.id });
        }
        let mut all: Vec<Arc<Event>> = entries.into_iter().map(Arc::new).collect();
        for item in live {
            match item {
                Ok(event) if event.kind.is_signal() => all.push(event),
                Ok(_) => {}
                Err(lagged) => self.ready.push_back(Err(EventsError::Lagged(lagged))),
            }
        }
        // The sort is stable: signals stay in the order in which they came.
        all.sort_by_key(|event| (event.sequence, event.kind.is_signal()));
        for event in all {
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
