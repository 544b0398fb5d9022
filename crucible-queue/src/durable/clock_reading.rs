//! One point in time on two clocks.

use crucible_core::Timestamp;
use tokio::time::Instant;

/// A point in time on tokio's clock, which measures leases and delays, and on the system clock,
/// which spans two processes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    pub(super) instant: Instant,
    pub(super) time: Timestamp,
}
