//! A storage in which single kinds of calls go wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};
use crucible_storage::MemoryStorage;

/// What a call is about, for whoever tampers with it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call<'a> {
    Append(&'a [Event]),
    Record,
    PutBlob(&'a Bytes),
}

/// What happens to a call.
pub(crate) enum Tampered {
    /// Nothing: it goes through.
    Nothing,
    /// It goes through, and its answer comes after so long.
    AnsweredLate(Duration),
    /// It fails with this, and has no effect.
    Fails(StorageError),
}

type Tamper = dyn Fn(Call<'_>) -> Tampered + Send + Sync;

/// A storage of which some calls can be tampered with.
pub(crate) struct TamperedStorage {
    inner: Arc<MemoryStorage>,
    tamper: Box<Tamper>,
}

impl TamperedStorage {
    pub(crate) fn new(
        inner: &Arc<MemoryStorage>,
        tamper: impl Fn(Call<'_>) -> Tampered + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::clone(inner), tamper: Box::new(tamper) }
    }

    async fn call<T>(
        &self,
        tampered: Tampered,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match tampered {
            Tampered::Nothing => call.await,
            Tampered::AnsweredLate(pause) => {
                let answer = call.await;
                tokio::time::sleep(pause).await;
                answer
            }
            Tampered::Fails(error) => Err(error),
        }
    }
}

impl fmt::Debug for TamperedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TamperedStorage").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for TamperedStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        let tampered = (self.tamper)(Call::Append(&events));
        self.call(tampered, self.inner.append(id, expected, events)).await
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.call((self.tamper)(Call::Record), self.inner.record(id)).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.inner.records(query).await
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.inner.journal(id, after).await
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        let tampered = (self.tamper)(Call::PutBlob(&content));
        self.call(tampered, self.inner.put_blob(content)).await
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.inner.blob(digest).await
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        self.inner.remove(id, expected).await
    }
}
