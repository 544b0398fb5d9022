//! The trait of event buses.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;

use crate::journal::Event;
use crate::model::{BoxError, EvaluationId};

/// Publishes events as they happen. A subscriber that misses events reads the journal.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// Publishes an event to all subscribers with a matching filter.
    ///
    /// # Behavior
    /// - The bus never waits for a subscriber.
    /// - Events of one evaluation arrive in the order in which they were published.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the event either published or not.
    ///
    /// # Errors
    /// Returns an error if the bus is unavailable. No entry is lost: the journal has the event.
    async fn publish(&self, event: Arc<Event>) -> Result<(), BusError>;

    /// Subscribes to events that are published from now on.
    ///
    /// # Behavior
    /// - For a slow subscriber the bus drops the oldest events. Before the next event the stream
    ///   yields their number.
    /// - Dropping the stream ends the subscription.
    ///
    /// # Cancel safety
    /// Dropping the future creates no subscription.
    ///
    /// # Errors
    /// Returns an error if the bus is unavailable.
    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError>;
}

/// The events of a subscription in the order of publication, and [`Lagged`] in place of dropped
/// events.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Arc<Event>, Lagged>> + Send>>;

/// The number of events that the bus dropped for a slow subscriber. The journal has the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were missed; read the journal")]
#[non_exhaustive]
pub struct Lagged {
    /// The number of dropped events.
    pub missed: u64,
}

impl Lagged {
    /// Creates a marker for this number of dropped events.
    #[must_use]
    pub fn new(missed: u64) -> Self {
        Self { missed }
    }
}

/// A selection of events for a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventFilter {
    /// The evaluations, or `None` for all.
    pub evaluations: Option<BTreeSet<EvaluationId>>,
    /// The wire names of the event kinds, or `None` for all.
    pub kinds: Option<BTreeSet<String>>,
    /// `true` for journal entries only, without signals.
    pub journal_only: bool,
}

impl EventFilter {
    /// Selects all events.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects all events of one evaluation.
    #[must_use]
    pub fn evaluation(id: EvaluationId) -> Self {
        Self { evaluations: Some(BTreeSet::from([id])), ..Self::default() }
    }

    /// Selects only events of these kinds, by their wire names: see
    /// [`EventKind::name`](crate::EventKind::name).
    #[must_use]
    pub fn with_kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.kinds = Some(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// Selects only journal entries, without signals.
    #[must_use]
    pub fn without_signals(mut self) -> Self {
        self.journal_only = true;
        self
    }

    /// Returns `true` if the filter selects the event.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.evaluations.as_ref().is_none_or(|ids| ids.contains(&event.evaluation))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(event.kind.name()))
            && !(self.journal_only && event.kind.is_signal())
    }
}

/// An error of a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The backend of the bus is unavailable. It may come back.
    #[error("the event bus is not available")]
    Unavailable {
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl BusError {
    /// Returns `true` if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
        }
    }
}
