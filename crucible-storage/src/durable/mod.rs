//! A storage over a map that outlives the process.

mod buckets;
mod entry;
mod error;
mod files;
mod format;
mod keys;
mod known;
mod lookup;
mod open;
mod reading;
mod references;
mod row;
mod storage;
mod writing;

pub use open::OpenError;
pub use storage::DurableStorage;
