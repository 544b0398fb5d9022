//! A monitor that logs.

use super::monitors::Monitor;
use crate::journal::{Event, EventKind};

/// Logs events as `tracing` events with the target `crucible`.
///
/// State changes have the level `INFO`, infrastructure failures `WARN`, and output `TRACE`. The log
/// has the size of output, never its bytes.
///
/// The host controls verbosity: the monitor sets no subscriber and no filter.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TracingMonitor;

impl TracingMonitor {
    /// Creates a monitor that uses the `tracing` subscriber of the host.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Monitor for TracingMonitor {
    fn observe(&self, event: &Event) {
        let (id, sequence) = (event.evaluation, event.sequence);
        match &event.kind {
            EventKind::Submitted { evaluation } => {
                tracing::info!(target: "crucible", %id, sequence, tenant = evaluation.tenant, "submitted");
            }
            EventKind::Started { attempt, worker, engine } => {
                tracing::info!(target: "crucible", %id, sequence, attempt, %worker, engine, "started");
            }
            EventKind::AttemptFailed { attempt, error, retry_in } => {
                tracing::warn!(target: "crucible", %id, sequence, attempt, %error, ?retry_in, "attempt failed");
            }
            EventKind::Requeued { attempt, reason } => {
                tracing::warn!(target: "crucible", %id, sequence, attempt, ?reason, "requeued");
            }
            EventKind::CancelRequested => {
                tracing::info!(target: "crucible", %id, sequence, "cancel requested")
            }
            EventKind::Finished { outcome } => {
                let (verdict, wall) = (outcome.verdict(), outcome.usage.wall);
                tracing::info!(target: "crucible", %id, sequence, %verdict, ?wall, "finished");
            }
            EventKind::Failed { error } => {
                tracing::warn!(target: "crucible", %id, sequence, %error, "failed")
            }
            EventKind::Cancelled { reason, .. } => {
                tracing::info!(target: "crucible", %id, sequence, reason, "cancelled");
            }
            EventKind::Expired => tracing::info!(target: "crucible", %id, sequence, "expired"),
            EventKind::Output { stream, bytes, .. } => {
                tracing::trace!(target: "crucible", %id, %stream, bytes = bytes.len(), "output");
            }
        }
    }
}
