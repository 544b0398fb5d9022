//! A storage that survives its process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};
use tokio::task::spawn_blocking;

use super::error::StorageFailure;
use super::storage_core::{StorageCore, run_to_completion, task_failed};

/// Journals, records and indexes in a store, and large data in files beside it.
///
/// Clones share one storage. Acknowledged writes have the durability of the
/// [`Store`](crucible_kv::Store), including the files.
#[derive(Clone)]
pub struct DurableStorage {
    pub(super) core: Arc<StorageCore>,
}

#[async_trait]
impl Storage for DurableStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        // Try without a read first: the journal is mostly new, or the cached record is current. The
        // write detects the other cases.
        let cached = self.core.cache.get(id).filter(|cached| cached.record.sequence == expected);
        if !events.is_empty() && (expected == 0 || cached.is_some()) {
            let appended = self.core.append(id, expected, cached.as_deref(), &events).await;
            match appended.map_err(|StorageFailure(error)| error) {
                Err(StorageError::Conflict { .. } | StorageError::Transition { .. }) => {}
                appended => return appended,
            }
        }
        let appended = async {
            let current = self.core.load(id).await?;
            self.core.append(id, expected, current.as_deref(), &events).await
        };
        appended.await.map_err(|StorageFailure(error)| error)
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        let loaded = self.core.load(id).await.map_err(|StorageFailure(error)| error)?;
        Ok(loaded.map(|loaded| loaded.record.clone()))
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        let query = query.clone();
        let page = self.core.read(move |view| view.page(&query)).await;
        page.map_err(|StorageFailure(error)| error)
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        let events = self.core.read(move |view| view.journal(id, after)).await;
        events.map_err(|StorageFailure(error)| error)
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        let core = Arc::clone(&self.core);
        let put = move || {
            let digest = Digest::of(&content);
            core.files.pin(digest);
            let written = core.files.write(digest, &content);
            if written.is_err() {
                core.files.unpin(digest);
            }
            written.map(|()| digest).map_err(StorageFailure::from)
        };
        let put = spawn_blocking(put).await.map_err(task_failed).and_then(|result| result);
        put.map_err(|StorageFailure(error)| error)
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        let blob = self.core.read(move |view| view.blob(digest)).await;
        blob.map_err(|StorageFailure(error)| error)
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        let removed = run_to_completion(Arc::clone(&self.core).remove(id, expected)).await;
        removed.map_err(|StorageFailure(error)| error)
    }
}

impl fmt::Debug for DurableStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStorage")
            .field("store", &self.core.store)
            .field("files", &self.core.files)
            .finish()
    }
}
