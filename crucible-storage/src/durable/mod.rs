//! A storage over a `crucible-kv` store.

mod append;
mod blob_files;
mod blob_references;
mod durable_storage;
mod error;
mod id_list;
mod idempotency_key;
mod journal_entry;
mod keys;
mod migration;
mod open;
mod query;
mod record_cache;
mod record_row;
mod removal;
mod storage_core;
mod storage_view;
mod time_index;

pub use durable_storage::DurableStorage;
pub use error::StorageOpenError;
