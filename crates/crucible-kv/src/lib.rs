//! An ordered map of bytes with atomic batches and group commit, over embedded stores.
//!
//! A [`Store`] owns a [`Backend`] and one writer thread. A write is a closure. The writer thread
//! runs all waiting closures, commits their writes as one group, and then answers the callers.
//!
//! ```
//! use crucible_kv::testing::MemoryBackend;
//! use crucible_kv::{Durability, KvError, Range, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open(MemoryBackend::new(), Durability::Power)?;
//! let count = store
//!     .write(|transaction| {
//!         let count = transaction.get(b"count")?.map_or(0, |count| count.len()) + 1;
//!         transaction.put("count", vec![b'x'; count]);
//!         Ok::<_, KvError>(count)
//!     })
//!     .await?;
//! assert_eq!(count, 1);
//! assert_eq!(store.scan(Range::prefix("c"), 10).await?, [("count".into(), "x".into())]);
//! store.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **Durability.** [`Durability`] names what an acknowledged write survives. Each backend
//!   declares the strongest level it provides. [`Store::open`] refuses a stronger one.
//! - **Order.** Writes run in the order in which they arrive. At most 1,024 writes wait in the
//!   queue; further callers wait for a free slot, first-in, first-out. A group holds at most 4,096
//!   keys or 8 MiB.
//! - **Waiting.** [`Store::write`] returns when its group is durable. A caller that needs no answer
//!   reserves a [`WritePermit`] and submits a closure through it.
//! - **Failure.** If the disk is full, every write of the group fails, nothing is written, and the
//!   store stays usable. After any other failure the state on disk is unknown. The store is then
//!   *poisoned*: it refuses writes and reports the reason until it is opened again. Reads go on.
//! - **Threads.** One writer thread for each store. Reads that may wait for a disk run on tokio's
//!   blocking threads. [`Store::get_cached`] reads memory on the calling thread.
//! - **Directories.** A backend's directory contains the file `LOCK`, which names the process that
//!   holds the lock, and the file `FORMAT`, which names the kind of store.
//!
//! # Features
//!
//! - `redb`: [`RedbBackend`], the [`DefaultBackend`]. Off by default.
//! - `sled`: [`SledBackend`]. Off by default.
//! - `testing`: [`testing`], in-memory backends that inject faults. Off by default.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod backend;
mod batch;
mod checksum;
mod durability;
mod error;
mod generation;
mod layout_version;
mod lock_owner;
mod overlay;
#[cfg(any(feature = "redb", feature = "sled"))]
mod panic_guard;
mod range;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sled")]
mod sled;
mod store;
mod store_directory;
mod store_reader;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod write_closure;
mod write_permit;
mod write_queue;
mod writer;

pub use backend::{Backend, KEY_MAX, VALUE_MAX};
pub use batch::{Batch, BatchIter};
pub use checksum::{add_checksum, verify_checksum, write_with_checksum};
pub use durability::Durability;
pub use error::{KvError, KvErrorKind, SharedError, WriteError};
pub use generation::Generation;
pub use layout_version::layout_version;
pub use lock_owner::LockOwner;
pub use range::Range;
#[cfg(feature = "redb")]
pub use redb::RedbBackend;
#[cfg(feature = "sled")]
pub use sled::SledBackend;
pub use store::Store;
pub use store_directory::StoreDirectory;
pub use store_reader::StoreReader;
pub use transaction::Transaction;
pub use write_permit::WritePermit;

/// The default backend of a data directory. `docs/durability.md` gives the reasons.
#[cfg(feature = "redb")]
pub type DefaultBackend = RedbBackend;
