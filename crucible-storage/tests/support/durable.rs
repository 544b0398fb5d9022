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
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    open: Box<dyn Fn(&Path) -> Store + Send + Sync>,
}

impl Place {
    /// A place whose map is opened in a directory.
    pub(crate) fn new(open: impl Fn(&Path) -> Store + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { directory: tempfile::tempdir().unwrap(), open: Box::new(open) })
    }

    /// A place whose map is this backend, whose clones are the same.
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

/// A place whose map is in memory, and stays there while nobody has it open.
pub(crate) fn memory() -> Arc<Place> {
    Place::over(MemoryBackend::new())
}

/// A place whose map is a redb database: every write is made durable, as hosts have it.
pub(crate) fn redb() -> Arc<Place> {
    Place::new(|directory| {
        Store::open(RedbBackend::open(directory).unwrap(), Durability::Power).unwrap()
    })
}

/// A place whose map is a sled database.
pub(crate) fn sled() -> Arc<Place> {
    Place::new(|directory| {
        let backend = SledBackend::open(directory).unwrap();
        let strongest = backend.strongest();
        Store::open(backend, strongest).unwrap()
    })
}

/// An open storage, with the place that it is in.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) storage: DurableStorage,
    pub(crate) store: Store,
    pub(crate) place: Arc<Place>,
}

impl Kept {
    pub(crate) async fn open(place: &Arc<Place>) -> Self {
        let store = place.store();
        let storage = DurableStorage::open(&store, place.blobs()).await.unwrap();
        Self { storage, store, place: Arc::clone(place) }
    }

    /// Closes it and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        let Self { storage, store, place } = self;
        drop(storage);
        store.close().await.unwrap();
        Self::open(&place).await
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.storage.fmt(f)
    }
}

#[async_trait]
impl Storage for Kept {
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
