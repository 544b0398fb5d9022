//! A directory with a durable storage and a durable queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crucible_core::QueueError;
use crucible_kv::{Backend, DefaultBackend, Durability, KvError, Store};
use crucible_queue::{DurableQueue, DurableQueueOptions};
use crucible_storage::DurableStorage;

/// How many tickets may wait in a data directory, unless its host says otherwise.
pub const CAPACITY: u64 = 100_000;

/// A directory that keeps what a platform accepted and what came of it: a map with journals, records and tickets in `map`,
/// and what is large in `blobs`.
///
/// One process at a time has it; the kernel gives it back when that process ends, in whatever way. A handle is cheap to clone,
/// and the directory is given back when the last one is gone, those of [`storage`](Self::storage) and
/// [`queue`](Self::queue) among them.
///
/// A platform on it begins with [`Crucible::recover`](crucible_core::Crucible::recover): its queue relies on that.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    path: PathBuf,
    store: Store,
    storage: DurableStorage,
    queue: Arc<DurableQueue>,
}

/// How a data directory is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataOptions {
    /// What survives when an acknowledged write is answered; [`Durability::Power`] by default.
    pub durability: Durability,
    /// The most tickets that may wait; [`CAPACITY`] by default.
    pub capacity: u64,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { durability: Durability::Power, capacity: CAPACITY }
    }
}

impl DataOptions {
    /// As they are by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`DataOptions::durability`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`DataOptions::capacity`].
    #[must_use]
    pub fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity;
        self
    }
}

/// A data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody else has it.
    #[error("the data directory `{}` is in use by {by}", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who has it.
        by: String,
    },
    /// Its map cannot be opened.
    #[error("the map in the data directory `{}` cannot be opened", directory.display())]
    Map {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: KvError,
    },
    /// Its storage cannot be opened.
    #[error("the storage in the data directory `{}` cannot be opened", directory.display())]
    Storage {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: crucible_storage::OpenError,
    },
    /// Its queue cannot be opened.
    #[error("the queue in the data directory `{}` cannot be opened", directory.display())]
    Queue {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: crucible_queue::OpenError,
    },
}

/// A data directory could not be closed in good order. Nothing that was acknowledged is lost by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Claims could not be given back: they count as those of a process that died.
    #[error("claims could not be given back")]
    Queue(#[from] QueueError),
    /// The last writes failed.
    #[error("the map could not be closed")]
    Map(#[from] KvError),
}

impl DataDirectory {
    /// Opens a directory, which is made if it is not there: as durable as [`DataOptions::new`] says.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, DataOptions::new()).await
    }

    /// Opens a directory, which is made if it is not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_with(
        path: impl AsRef<Path>,
        options: DataOptions,
    ) -> Result<Self, OpenError> {
        Self::open_on(path, options, |map| DefaultBackend::open(map)).await
    }

    /// Opens a directory whose map is in a store of another kind than the default: `backend` opens it, or makes it, in the
    /// directory that it is given. A directory stays of the kind as which it was made.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_on<B: Backend>(
        path: impl AsRef<Path>,
        options: DataOptions,
        backend: impl FnOnce(&Path) -> Result<B, KvError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let map = path.join("map");
        // It reads, and may have to repair what a process left that was killed.
        let opened =
            tokio::task::spawn_blocking(move || Store::open(backend(&map)?, options.durability));
        let store = match opened.await {
            Ok(Ok(store)) => store,
            Ok(Err(error)) => return Err(refused(path, error)),
            Err(error) => {
                return Err(refused(
                    path,
                    KvError::from_io("a thread", std::io::Error::other(error)),
                ));
            }
        };
        let storage = DurableStorage::open(&store, path.join("blobs"))
            .await
            .map_err(|source| OpenError::Storage { directory: path.clone(), source })?;
        let queue = DurableQueue::open(
            &store,
            DurableQueueOptions::bounded(options.capacity).restored_from_storage(),
        )
        .await
        .map_err(|source| OpenError::Queue { directory: path.clone(), source })?;
        Ok(Self { path, store, storage, queue: Arc::new(queue) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its storage, for [`CrucibleBuilder::storage`](crucible_core::CrucibleBuilder::storage).
    #[must_use]
    pub fn storage(&self) -> DurableStorage {
        self.storage.clone()
    }

    /// Its queue, for [`CrucibleBuilder::queue`](crucible_core::CrucibleBuilder::queue).
    #[must_use]
    pub fn queue(&self) -> Arc<DurableQueue> {
        Arc::clone(&self.queue)
    }

    /// What survives when an acknowledged write is answered.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.store.durability()
    }

    /// Gives space that nothing is in any more back to the file system. Others wait meanwhile.
    ///
    /// # Errors
    /// The map failed.
    pub async fn compact(&self) -> Result<(), KvError> {
        self.store.compact().await
    }

    /// Closes the directory, once everything that used it has ended: claims that were not given back are, and the last
    /// writes are durable.
    ///
    /// # Errors
    /// See [`CloseError`].
    pub async fn close(self) -> Result<(), CloseError> {
        self.queue.close().await?;
        Ok(self.store.close().await?)
    }
}

fn refused(directory: PathBuf, error: KvError) -> OpenError {
    match error {
        KvError::Locked { by, .. } => {
            let by = by.map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
            OpenError::InUse { directory, by }
        }
        source => OpenError::Map { directory, source },
    }
}
