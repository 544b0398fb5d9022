//! An ordered map of bytes with atomic batches and group commit, over embedded stores.
//!
//! A [`Store`] owns a [`Backend`] and one thread that writes to it. Writes are closures; the thread runs those that have
//! arrived, makes what they wrote durable together, once, and only then answers.
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
//! - **Durability.** [`Durability`] says what an acknowledged write survives. A backend says the strongest level that it
//!   keeps, and a store is not opened with a stronger one.
//! - **Order.** Writes are made in the order of their arrival, whoever they are of. At most a thousand wait in line; who comes
//!   then waits for a place, in turn. A group has at most 4,096 keys or 8 MiB.
//! - **Waiting.** [`Store::write`] waits until its group is durable. Whoever need not wait takes a [`Place`] and hands a closure in.
//! - **Failure.** If there is no room, everybody in the group is told so, nothing of it is written, and the store works on. After
//!   any other failure nobody knows what is on disk: the store is *poisoned*, writes nothing more, says why, and is to be opened
//!   again. Reads go on.
//! - **Threads.** One for each store. Reads of a backend that may wait for a disk run on tokio's blocking threads;
//!   [`Store::get_cached`] reads what is in memory where it is called.
//! - **Directories.** A backend's directory has a file `LOCK`, which says whose it is while it is locked, and a file `FORMAT`,
//!   which says which kind of store is in it.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod backend;
mod batch;
mod directory;
mod durability;
mod error;
mod generation;
#[cfg(any(feature = "redb", feature = "sled"))]
mod guard;
mod merge;
mod owner;
mod queue;
mod range;
#[cfg(feature = "redb")]
mod redb;
mod sealed;
#[cfg(feature = "sled")]
mod sled;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod writer;

pub use backend::{Backend, KEY_MAX, VALUE_MAX};
pub use batch::{Batch, Iter};
pub use directory::Directory;
pub use durability::Durability;
pub use error::{KvError, KvErrorKind, SharedError, WriteError};
pub use generation::Generation;
pub use owner::Owner;
pub use range::Range;
#[cfg(feature = "redb")]
pub use redb::RedbBackend;
pub use sealed::{seal, seal_written, unseal};
#[cfg(feature = "sled")]
pub use sled::SledBackend;
pub use store::{Place, Reader, Store};
pub use transaction::Transaction;

/// The store of a data directory, unless its host chooses another: `docs/durability.md` says why it is this one.
#[cfg(feature = "redb")]
pub type DefaultBackend = RedbBackend;
