//! Durable storages for tests, each with a directory that goes with it.

#![expect(
    clippy::unwrap_used,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

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

/// Where a storage is kept: it can be opened there again and again, one at a time.
pub(crate) struct StorageLocation {
    pub(crate) directory: TempDir,
    open: Box<dyn Fn(&Path) -> Store + Send + Sync>,
}

impl StorageLocation {
    /// A location whose map is opened in a directory.
    pub(crate) fn new(open: impl Fn(&Path) -> Store + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { directory: tempfile::tempdir().unwrap(), open: Box::new(open) })
    }

    /// A location whose map is this backend, whose clones are the same.
    pub(crate) fn over(backend: impl Backend + Clone) -> Arc<Self> {
        Self::new(move |_| Store::open(backend.clone(), Durability::Buffered).unwrap())
    }

    pub(crate) fn store(&self) -> Store {
        (self.open)(&self.directory.path().join("map"))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.path().join("blobs")
    }

    /// The files that have blobs.
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

/// A location whose map is in memory, and stays there while nobody has it open.
pub(crate) fn memory() -> Arc<StorageLocation> {
    StorageLocation::over(MemoryBackend::new())
}

/// A location whose map is a redb database: every write is made durable, as hosts have it.
pub(crate) fn redb() -> Arc<StorageLocation> {
    StorageLocation::new(|directory| {
        Store::open(RedbBackend::open(directory).unwrap(), Durability::Power).unwrap()
    })
}

/// A location whose map is a sled database.
pub(crate) fn sled() -> Arc<StorageLocation> {
    StorageLocation::new(|directory| {
        let backend = SledBackend::open(directory).unwrap();
        let strongest = backend.strongest();
        Store::open(backend, strongest).unwrap()
    })
}

/// An open storage, with the location that it is in.
#[derive(Clone)]
pub(crate) struct StorageFixture {
    pub(crate) storage: DurableStorage,
    pub(crate) store: Store,
    pub(crate) location: Arc<StorageLocation>,
}

impl StorageFixture {
    pub(crate) async fn open(location: &Arc<StorageLocation>) -> Self {
        let store = location.store();
        let storage = DurableStorage::open(&store, location.blobs()).await.unwrap();
        Self { storage, store, location: Arc::clone(location) }
    }

    /// Closes it and opens it again.
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
