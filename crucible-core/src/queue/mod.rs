//! The queue of evaluations to run: the trait, tickets and claims.

mod error;
mod forward;
mod queue_trait;
mod stats;
mod ticket;

pub use error::{QueueError, QueueErrorKind};
pub use queue_trait::Queue;
pub use stats::QueueStats;
pub use ticket::{Claim, Ticket};
