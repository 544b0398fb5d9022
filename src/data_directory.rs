//! A directory with a durable storage and a durable queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crucible_core::QueueError;
use crucible_kv::{Backend, DefaultBackend, Durability, KvError, Store};
use crucible_queue::{DurableQueue, DurableQueueOptions};
use crucible_storage::DurableStorage;

/// The default maximum number of waiting tickets in a data directory.
pub const DEFAULT_CAPACITY: u64 = 100_000;

/// A directory with a platform's durable state: journals, records and tickets in `map`, and large
/// data in `blobs`.
///
/// One process at a time can open it. The kernel releases its lock when that process ends for any
/// reason. Clones share the directory. It is released when the last clone and all handles from
/// [`storage`](Self::storage) and [`queue`](Self::queue) are dropped.
///
/// A platform must call [`Crucible::recover`](crucible_core::Crucible::recover) after opening,
/// because the queue relies on it.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    path: PathBuf,
    store: Store,
    storage: DurableStorage,
    queue: Arc<DurableQueue>,
}

/// Options of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataDirectoryOptions {
    /// The durability of acknowledged writes; [`Durability::Power`] by default.
    pub durability: Durability,
    /// The maximum number of waiting tickets; [`DEFAULT_CAPACITY`] by default.
    pub capacity: u64,
}

impl Default for DataDirectoryOptions {
    fn default() -> Self {
        Self { durability: Durability::Power, capacity: DEFAULT_CAPACITY }
    }
}

impl DataDirectoryOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`DataDirectoryOptions::durability`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`DataDirectoryOptions::capacity`].
    #[must_use]
    pub fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity;
        self
    }
}

/// An error while a data directory is opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenDirectoryError {
    /// Another process has the directory open.
    #[error("the data directory `{}` is in use by {by}", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that has it open.
        by: String,
    },
    /// The store cannot be opened.
    #[error("cannot open the store in the data directory `{}`", directory.display())]
    Map {
        /// The directory.
        directory: PathBuf,
        /// The error of the store.
        #[source]
        source: KvError,
    },
    /// The storage cannot be opened.
    #[error("cannot open the storage in the data directory `{}`", directory.display())]
    Storage {
        /// The directory.
        directory: PathBuf,
        /// The error of the storage.
        #[source]
        source: crucible_storage::StorageOpenError,
    },
    /// The queue cannot be opened.
    #[error("cannot open the queue in the data directory `{}`", directory.display())]
    Queue {
        /// The directory.
        directory: PathBuf,
        /// The error of the queue.
        #[source]
        source: crucible_queue::QueueOpenError,
    },
}

/// An error while a data directory is closed. Acknowledged writes are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseDirectoryError {
    /// Claims could not be released. They count as claims of a crashed process.
    #[error("cannot release the claims")]
    Queue(#[from] QueueError),
    /// The last writes failed.
    #[error("cannot close the store")]
    Map(#[from] KvError),
}

impl DataDirectory {
    /// Opens a directory with the default options. Creates it if it does not exist.
    ///
    /// # Errors
    /// Returns [`OpenDirectoryError`] if another process has the directory open, or if a part of it
    /// cannot be opened.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenDirectoryError> {
        Self::open_with(path, DataDirectoryOptions::new()).await
    }

    /// Opens a directory with options. Creates it if it does not exist.
    ///
    /// # Errors
    /// Returns the same errors as [`open`](Self::open).
    pub async fn open_with(
        path: impl AsRef<Path>,
        options: DataDirectoryOptions,
    ) -> Result<Self, OpenDirectoryError> {
        Self::open_on(path, options, |map| DefaultBackend::open(map)).await
    }

    /// Opens a directory with another backend than the default one. `backend` opens or creates the
    /// store in the given subdirectory. A directory keeps the kind of store it was created with.
    ///
    /// # Errors
    /// Returns the same errors as [`open`](Self::open).
    pub async fn open_on<B: Backend>(
        path: impl AsRef<Path>,
        options: DataDirectoryOptions,
        backend: impl FnOnce(&Path) -> Result<B, KvError> + Send + 'static,
    ) -> Result<Self, OpenDirectoryError> {
        let path = path.as_ref().to_owned();
        let map = path.join("map");
        // Opening reads the disk, and may have to repair the files of a crashed process.
        let opened =
            tokio::task::spawn_blocking(move || Store::open(backend(&map)?, options.durability));
        let store = match opened.await {
            Ok(Ok(store)) => store,
            Ok(Err(error)) => return Err(open_error(path, error)),
            Err(error) => {
                let error = KvError::from_io("a thread", std::io::Error::other(error));
                return Err(open_error(path, error));
            }
        };
        let storage = DurableStorage::open(&store, path.join("blobs"))
            .await
            .map_err(|source| OpenDirectoryError::Storage { directory: path.clone(), source })?;
        let queue_options = DurableQueueOptions::bounded(options.capacity).restored_from_storage();
        let queue = DurableQueue::open(&store, queue_options)
            .await
            .map_err(|source| OpenDirectoryError::Queue { directory: path.clone(), source })?;
        Ok(Self { path, store, storage, queue: Arc::new(queue) })
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the storage, for
    /// [`CrucibleBuilder::storage`](crucible_core::CrucibleBuilder::storage).
    #[must_use]
    pub fn storage(&self) -> DurableStorage {
        self.storage.clone()
    }

    /// Returns the queue, for [`CrucibleBuilder::queue`](crucible_core::CrucibleBuilder::queue).
    #[must_use]
    pub fn queue(&self) -> Arc<DurableQueue> {
        Arc::clone(&self.queue)
    }

    /// Returns the durability of acknowledged writes.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.store.durability()
    }

    /// Releases unused disk space. Writes wait meanwhile.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn compact(&self) -> Result<(), KvError> {
        self.store.compact().await
    }

    /// Closes the directory after its users have ended: releases all claims, and makes the last
    /// writes durable.
    ///
    /// # Errors
    /// Returns [`CloseDirectoryError`] if a claim cannot be released or the last writes failed.
    pub async fn close(self) -> Result<(), CloseDirectoryError> {
        self.queue.close().await?;
        Ok(self.store.close().await?)
    }
}

/// Converts the error of a store that cannot be opened.
fn open_error(directory: PathBuf, error: KvError) -> OpenDirectoryError {
    match error {
        KvError::Locked { by, .. } => {
            let by = by.map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
            OpenDirectoryError::InUse { directory, by }
        }
        source => OpenDirectoryError::Map { directory, source },
    }
}
