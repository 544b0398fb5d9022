//! Storages for Crucible: journals, the records that follow from them, and blobs.
//!
//! - [`MemoryStorage`] keeps everything in this process: for tests, and for hosts that need no result after a restart.
//! - `DurableStorage` (feature `durable`) keeps everything in a map of `crucible-kv`, and what is large in files beside it.
//!
//! ```
//! use crucible_core::{Digest, Evaluation, EvaluationId, Event, EventKind, RecordState, Storage, Timestamp};
//! use crucible_storage::MemoryStorage;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = MemoryStorage::new();
//! let id = EvaluationId::new();
//! let submitted = EventKind::Submitted { evaluation: Evaluation::python("print(6 * 7)").into() };
//! let first = Event::sealed(id, 1, Timestamp::now(), submitted, Digest::ZERO);
//!
//! let record = storage.append(id, 0, vec![first.clone()]).await?;
//! assert_eq!(record.state, RecordState::Queued);
//! // Whoever believes that nothing was written yet finds out.
//! assert!(storage.append(id, 0, vec![first]).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **One state machine.** A record is the fold of its journal by [`Record::apply`](crucible_core::Record::apply);
//!   storages keep it, and never change it in another way.
//! - **Cost.** Appending and reading a record take constant time and the time of an ordered index; a page by state takes
//!   time in proportion to the page, as far as the other conditions let every record through.
//! - **Threads.** In memory: one readers-and-writer lock, never held while anything waits. Durable: writes are made by the map's one
//!   thread, many at a time; reads that may wait for a disk run on tokio's blocking threads.
//!
//! # Features
//!
//! - `durable`: `DurableStorage`. Off by default. `docs/durability.md` says what it keeps where, and what holds when a process is
//!   killed or the power goes.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod blobs;
#[cfg(feature = "durable")]
mod durable;
mod fold;
mod index;
mod memory;

#[cfg(feature = "durable")]
pub use durable::{DurableStorage, OpenError};
pub use memory::MemoryStorage;
