//! The trait of monitors, and a group of monitors.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::journal::Event;

/// Observes events. A monitor cannot block, fail or steer a run.
///
/// The platform calls its monitors one after another for each event. If a monitor panics, the
/// platform logs the panic and calls the next monitor.
pub trait Monitor: fmt::Debug + Send + Sync + 'static {
    /// Observes an event. It must return immediately: pass longer work to another task.
    ///
    /// # Behavior
    /// - The platform passes each journal entry and each signal of this host exactly once.
    /// - The events of one evaluation come in order.
    fn observe(&self, event: &Event);
}

/// A group of monitors. It calls them in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Monitors(Vec<Arc<dyn Monitor>>);

impl Monitors {
    /// Creates an empty group.
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

    /// Returns `true` if the group has no monitor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Monitor for Monitors {
    fn observe(&self, event: &Event) {
        for monitor in &self.0 {
            // Only the monitor itself sees state that its panic left inconsistent.
            if catch_unwind(AssertUnwindSafe(|| monitor.observe(event))).is_err() {
                tracing::error!(?monitor, event = event.kind.name(), "a monitor panicked");
            }
        }
    }
}
