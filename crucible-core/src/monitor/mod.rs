//! Monitors: observers of events.

mod counting_monitor;
mod forward;
mod monitors;
mod tracing_monitor;

pub use counting_monitor::{CountingMonitor, MonitorCounts};
pub use monitors::{Monitor, Monitors};
pub use tracing_monitor::TracingMonitor;
