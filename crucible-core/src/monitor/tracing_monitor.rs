//! A monitor that logs.

use super::monitors::Monitor;
use crate::journal::{Event, EventKind};

/// The `tracing` target of all events.
const TARGET: &str = "crucible";

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
                let tenant = &evaluation.tenant;
                tracing::info!(target: TARGET, %id, sequence, tenant, "submitted");
            }
            EventKind::Started { attempt, worker, engine } => {
                tracing::info!(target: TARGET, %id, sequence, attempt, %worker, engine, "started");
            }
            EventKind::AttemptFailed { attempt, error, retry_in } => {
                tracing::warn!(
                    target: TARGET, %id, sequence, attempt, %error, ?retry_in, "attempt failed"
                );
            }
            EventKind::Requeued { attempt, reason } => {
                tracing::warn!(target: TARGET, %id, sequence, attempt, ?reason, "requeued");
            }
            EventKind::CancelRequested => {
                tracing::info!(target: TARGET, %id, sequence, "cancel requested")
            }
            EventKind::Finished { outcome } => {
                let (verdict, wall) = (outcome.verdict(), outcome.usage.wall);
                tracing::info!(target: TARGET, %id, sequence, %verdict, ?wall, "finished");
            }
            EventKind::Failed { error } => {
                tracing::warn!(target: TARGET, %id, sequence, %error, "failed")
            }
            EventKind::Cancelled { reason, .. } => {
                tracing::info!(target: TARGET, %id, sequence, reason, "cancelled");
            }
            EventKind::Expired => tracing::info!(target: TARGET, %id, sequence, "expired"),
            EventKind::Output { stream, bytes, .. } => {
                tracing::trace!(target: TARGET, %id, %stream, bytes = bytes.len(), "output");
            }
        }
    }
}
