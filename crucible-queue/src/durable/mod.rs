//! A queue over a map that outlives the process.

mod error;
mod keys;
mod options;
mod queue;
mod row;
mod tickets;

pub use error::OpenError;
pub use options::DurableQueueOptions;
pub use queue::DurableQueue;
