//! Queues for Crucible: what to do next, by priority, in turns, under leases.
//!
//! - [`MemoryQueue`] keeps its tickets in this process. It is gone with the process, and that loses no evaluation that a
//!   durable storage knows: a queue can be made again from the storage.
//! - `DurableQueue` (feature `durable`) keeps them in a map of `crucible-kv` as well.
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
//! let claim = queue.claim(&WorkerId::new("host/0"), lease, wait).await?.ok_or("no ticket came")?;
//! assert_eq!(claim.ticket, ticket);
//! queue.ack(&claim).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **Order.** A more urgent ticket comes first; within a priority, tenants take turns; each tenant's tickets are
//!   first-in, first-out. A ticket that has waited long enough comes before more urgent ones, see
//!   [`MemoryQueue::with_ageing`].
//! - **Cost.** Putting, taking and ending a ticket take constant time, whatever the depth; keeping a lease or a delay
//!   takes time logarithmic in their number. A ticket takes a few hundred bytes.
//! - **Threads.** One short lock; it is never held while anything waits. There is no background task: whoever waits for
//!   a ticket also watches the clock.
//!
//! # Features
//!
//! - `durable`: `DurableQueue`. Off by default.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod band;
mod desk;
#[cfg(feature = "durable")]
mod durable;
mod lazy;
mod memory;
mod state;

#[cfg(feature = "durable")]
pub use durable::{DurableQueue, DurableQueueOptions, OpenError};
pub use memory::MemoryQueue;
