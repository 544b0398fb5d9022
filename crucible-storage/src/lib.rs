//! Storages for Crucible, inside one process: journals, records and blobs.
//!
//! - [`MemoryStorage`] keeps everything in this process. It is for tests, and for hosts that need
//!   no results after a restart.
//! - `DurableStorage` (feature `durable`) keeps everything in a `crucible-kv` store, and large data
//!   in files beside it.
//!
//! ```
//! use crucible_core::{
//!     Digest, Evaluation, EvaluationId, Event, EventKind, RecordState, Storage, Timestamp,
//! };
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
//! // A writer that expects an empty journal gets a conflict.
//! assert!(storage.append(id, 0, vec![first]).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **One state machine.** A record is the fold of its journal by
//!   [`Record::apply`](crucible_core::Record::apply). Storages change records in no other way.
//! - **Cost.** Appending and reading a record take constant time plus the time of an ordered index.
//!   A page by state takes time in proportion to the page, if its other conditions match most
//!   records.
//! - **Threads.** In memory: one readers-writer lock, never held across an await point. Durable:
//!   the store's writer thread commits many writes at a time. Reads that may wait for a disk run on
//!   tokio's blocking threads.
//!
//! # Features
//!
//! - `durable`: `DurableStorage`. Off by default. `docs/durability.md` describes its layout and its
//!   guarantees after a crash or a power cut.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

#[cfg(feature = "durable")]
mod durable;
mod memory_blobs;
mod memory_storage;
mod record_fold;
mod state_index;

#[cfg(feature = "durable")]
pub use durable::{DurableStorage, StorageOpenError};
pub use memory_storage::MemoryStorage;
