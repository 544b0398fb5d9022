//! Durable storages in temporary directories.

#![expect(clippy::unwrap_used, reason = "a helper may panic, as the test itself may")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};
use crucible_kv::testing::MemoryBackend;
use crucible_kv::{Backend, Durability, RedbBackend, SledBackend, Store};
use crucible_storage::DurableStorage;
use tempfile::TempDir;

/// The location of a storage, which a test can open repeatedly.
pub(crate) struct StorageLocation {
    pub(crate) directory: TempDir,
    open: Box<dyn Fn(&Path) -> Store + Send + Sync>,
}

impl StorageLocation {
    /// Creates a location. `open` opens the store in a directory.
    pub(crate) fn new(open: impl Fn(&Path) -> Store + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { directory: tempfile::tempdir().unwrap(), open: Box::new(open) })
    }

    /// Creates a location over a backend whose clones share their content.
    pub(crate) fn over(backend: impl Backend + Clone) -> Arc<Self> {
        Self::new(move |_| Store::open(backend.clone(), Durability::Buffered).unwrap())
    }

    /// Opens the store.
    pub(crate) fn store(&self) -> Store {
        (self.open)(&self.directory.path().join("map"))
    }

    /// Returns the directory of the blob files.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.path().join("blobs")
    }

    /// Returns all blob files.
    pub(crate) fn blob_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for directory in std::fs::read_dir(self.blobs()).unwrap() {
            let directory = directory.unwrap().path();
            files.extend(std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()));
        }
        files.sort();
        files
    }
}

/// Returns a location with a store in memory.
pub(crate) fn memory() -> Arc<StorageLocation> {
    StorageLocation::over(MemoryBackend::new())
}

/// Returns a location with a redb store at the default durability.
pub(crate) fn redb() -> Arc<StorageLocation> {
    StorageLocation::new(|directory| {
        Store::open(RedbBackend::open(directory).unwrap(), Durability::Power).unwrap()
    })
}

/// Returns a location with a sled store.
pub(crate) fn sled() -> Arc<StorageLocation> {
    StorageLocation::new(|directory| {
        let backend = SledBackend::open(directory).unwrap();
        let strongest = backend.strongest();
        Store::open(backend, strongest).unwrap()
    })
}

/// An open storage with its location.
#[derive(Clone)]
pub(crate) struct StorageFixture {
    pub(crate) storage: DurableStorage,
    pub(crate) store: Store,
    pub(crate) location: Arc<StorageLocation>,
}

impl StorageFixture {
    /// Opens the storage of a location.
    pub(crate) async fn open(location: &Arc<StorageLocation>) -> Self {
        let store = location.store();
        let storage = DurableStorage::open(&store, location.blobs()).await.unwrap();
        Self { storage, store, location: Arc::clone(location) }
    }

    /// Closes the storage and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        let Self { storage, store, location } = self;
        drop(storage);
        store.close().await.unwrap();
        Self::open(&location).await
    }
}

impl std::fmt::Debug for StorageFixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.storage.fmt(f)
    }
}

#[async_trait]
impl Storage for StorageFixture {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        self.storage.append(id, expected, events).await
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.storage.record(id).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.storage.records(query).await
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.storage.journal(id, after).await
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        self.storage.put_blob(content).await
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.storage.blob(digest).await
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        self.storage.remove(id, expected).await
    }
}
