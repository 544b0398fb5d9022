//! Queues for Crucible, inside one process: priorities, tenant turns and leases.
//!
//! - [`MemoryQueue`] keeps its tickets in this process. They are gone when the process ends. No
//!   evaluation is lost if the storage is durable, because
//!   [`Crucible::recover`](crucible_core::Crucible::recover) restores tickets from it.
//! - `DurableQueue` (feature `durable`) also keeps its tickets in a `crucible-kv` store.
//!
//! ```
//! use std::time::Duration;
//!
//! use crucible_core::{EvaluationId, Priority, Queue, Ticket, WorkerId};
//! use crucible_queue::MemoryQueue;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = MemoryQueue::bounded(10_000);
//! let ticket = Ticket::new(EvaluationId::new(), Priority::Normal, "alice");
//! queue.enqueue(ticket.clone()).await?;
//!
//! let (lease, wait) = (Duration::from_secs(30), Duration::from_secs(1));
//! let claim = queue.claim(&WorkerId::new("host/0"), lease, wait).await?.ok_or("no ticket")?;
//! assert_eq!(claim.ticket, ticket);
//! queue.ack(&claim).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **Order.** Higher priorities come first. Within a priority, tenants take turns, and the
//!   tickets of one tenant are first-in, first-out. A ticket that has waited long enough comes
//!   before tickets of a higher priority: see [`MemoryQueue::with_ageing`].
//! - **Cost.** Enqueueing, claiming and acknowledging a ticket take constant time at any depth.
//!   Leases and delays take time logarithmic in their number. A ticket uses a few hundred bytes.
//! - **Threads.** One short lock, never held across an await point. There is no background task:
//!   one of the waiting claims also watches the next deadline.
//!
//! # Features
//!
//! - `durable`: `DurableQueue`. Off by default.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod dispatcher;
#[cfg(feature = "durable")]
mod durable;
mod memory_queue;
mod priority_lane;
mod ticket_status;
mod ticket_table;
mod tombstone_queue;

#[cfg(feature = "durable")]
pub use durable::{DurableQueue, DurableQueueOptions, QueueOpenError};
pub use memory_queue::MemoryQueue;
