//! The event bus: the trait, filters, and a bus inside one process.

mod event_bus;
mod forward;
mod local_bus;

pub use event_bus::{BusError, EventBus, EventFilter, EventStream, Lagged};
pub use local_bus::LocalBus;
