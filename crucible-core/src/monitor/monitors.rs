//! Observers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::journal::Event;

/// Observes what happens, and supervises nothing: it cannot block, fail or steer a run.
///
/// Monitors are called on the way of every event, one after another. One that panics is reported once and the others
/// go on.
pub trait Monitor: fmt::Debug + Send + Sync + 'static {
    /// Takes note of an event. It must return at once: hand work to a task of your own.
    ///
    /// # Behavior
    /// - Every journal entry and every signal of this host is observed once, those of one evaluation in order.
    fn observe(&self, event: &Event);
}

/// Several monitors as one, called in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Monitors(Vec<Arc<dyn Monitor>>);

impl Monitors {
    /// No monitor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a monitor.
    #[must_use]
    pub fn with(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.0.push(monitor);
        self
    }

    /// Whether there is no monitor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Monitor for Monitors {
    fn observe(&self, event: &Event) {
        for monitor in &self.0 {
            // A monitor keeps its own state; what it broke of it by panicking is its own to see.
            if catch_unwind(AssertUnwindSafe(|| monitor.observe(event))).is_err() {
                tracing::error!(?monitor, event = event.kind.name(), "a monitor panicked");
            }
        }
    }
}
