//! TODO(monitor)

pub(crate) mod counting_monitor;
pub(crate) mod monitor;
pub(crate) mod tracing_monitor;
