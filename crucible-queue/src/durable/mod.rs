//! A queue over a `crucible-kv` store.

mod clock_reading;
mod durable_queue;
mod error;
mod keys;
mod options;
mod stored_ticket;
mod sync_state;
mod ticket_store;
mod ticket_sync;

pub use durable_queue::DurableQueue;
pub use error::QueueOpenError;
pub use options::DurableQueueOptions;
