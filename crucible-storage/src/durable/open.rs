//! Opening a durable storage.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crucible_kv::{Durability, KvError, Store, StoreReader};

use super::blob_files::BlobFiles;
use super::durable_storage::DurableStorage;
use super::error::StorageOpenError;
use super::record_cache::RecordCache;
use super::storage_core::StorageCore;
use super::{blob_references, migration};

/// An error while unreferenced files are removed.
enum SweepError {
    Map(KvError),
    Files(io::Error),
}

impl From<KvError> for SweepError {
    fn from(error: KvError) -> Self {
        Self::Map(error)
    }
}

impl From<io::Error> for SweepError {
    fn from(error: io::Error) -> Self {
        Self::Files(error)
    }
}

impl DurableStorage {
    /// Opens a storage over a store and a directory for large data. Creates the directory if it
    /// does not exist. The lock on the store must also keep other users out of the directory.
    ///
    /// Removes files that an earlier process wrote and the store does not refer to. This reads the
    /// name of each file once.
    ///
    /// # Errors
    /// Returns [`StorageOpenError`] if a later version wrote the storage, or if the store or a file
    /// fails.
    pub async fn open(
        store: &Store,
        directory: impl Into<PathBuf>,
    ) -> Result<Self, StorageOpenError> {
        migration::check_format(store).await?;
        let directory = directory.into();
        let survives_power = store.durability() == Durability::Power;
        let failed = |source| StorageOpenError::Files { directory: directory.clone(), source };
        let opened = {
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || BlobFiles::open(directory, survives_power)).await
        };
        let files = opened.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let core =
            Arc::new(StorageCore { store: store.clone(), files, cache: RecordCache::default() });
        let swept = Arc::clone(&core);
        let sweep = store.read(move |map| remove_unreferenced(&swept.files, map)).await;
        sweep.map_err(|error| match error {
            SweepError::Map(error) => StorageOpenError::Map(error),
            SweepError::Files(error) => failed(error),
        })?;
        Ok(Self { core })
    }
}

/// Removes all files that the store does not refer to.
fn remove_unreferenced(files: &BlobFiles, map: StoreReader<'_>) -> Result<(), SweepError> {
    for first_byte in 0..=u8::MAX {
        for digest in files.list(first_byte)? {
            let is_referenced = || Ok(blob_references::exists(map, digest)?);
            files.remove_unused::<SweepError>(digest, is_referenced)?;
        }
    }
    Ok(())
}
