//! The storage of journals, records and blobs: the trait, its queries and its verification.

mod error;
mod forward;
mod page;
mod query;
mod storage_ext;
mod storage_trait;
mod verification;

pub use error::{StorageError, StorageErrorKind};
pub use page::{CorruptRecord, RecordPage};
pub use query::RecordQuery;
pub use storage_ext::{RecordOrCorrupt, StorageExt};
pub use storage_trait::Storage;
pub use verification::{Verification, verify_storage};
