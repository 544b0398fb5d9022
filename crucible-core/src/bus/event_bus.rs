//! What has just happened, for whoever listens.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;

use crate::journal::Event;
use crate::model::{BoxError, EvaluationId};

/// A listener was too slow: this many events were dropped before the next one it gets. The journal has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were missed; read the journal")]
#[non_exhaustive]
pub struct Lagged {
    /// How many events were dropped.
    pub missed: u64,
}

impl Lagged {
    /// So many events were dropped.
    #[must_use]
    pub fn new(missed: u64) -> Self {
        Self { missed }
    }
}

/// What a listener gets: events in the order of publication, and [`Lagged`] where some were dropped.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Arc<Event>, Lagged>> + Send>>;

/// Which events a listener wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only those of these evaluations; of all if `None`.
    pub evaluations: Option<BTreeSet<EvaluationId>>,
    /// Only events of these kinds, by their wire names; of all if `None`.
    pub kinds: Option<BTreeSet<String>>,
    /// No signals, only what is in journals.
    pub journal_only: bool,
}

impl EventFilter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Everything about one evaluation.
    #[must_use]
    pub fn evaluation(id: EvaluationId) -> Self {
        Self { evaluations: Some(BTreeSet::from([id])), ..Self::default() }
    }

    /// Only events of these kinds, by their wire names: see [`EventKind::name`](crate::EventKind::name).
    #[must_use]
    pub fn with_kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.kinds = Some(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// No signals.
    #[must_use]
    pub fn without_signals(mut self) -> Self {
        self.journal_only = true;
        self
    }

    /// Whether a listener with this filter wants the event.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.evaluations.as_ref().is_none_or(|ids| ids.contains(&event.evaluation))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(event.kind.name()))
            && !(self.journal_only && event.kind.is_signal())
    }
}

/// What can go wrong with a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// What the bus stands on is away; it may come back.
    #[error("the event bus is not available")]
    Unavailable {
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl BusError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
        }
    }
}

/// Says what has just happened. Whoever misses it reads the journal.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// Passes an event to everybody who listens.
    ///
    /// # Behavior
    /// - It never waits for a listener.
    /// - Events of one evaluation that are published one after another arrive in that order.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the event either published or not.
    ///
    /// # Errors
    /// The bus is away. Nothing is lost by that: the journal has the event.
    async fn publish(&self, event: Arc<Event>) -> Result<(), BusError>;

    /// Listens, from now on.
    ///
    /// # Behavior
    /// - A listener that is too slow loses the oldest events, and is told how many before it gets the next.
    /// - Dropping the stream ends the subscription.
    ///
    /// # Cancel safety
    /// Dropping the future subscribes to nothing.
    ///
    /// # Errors
    /// The bus is away.
    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError>;
}
