//! A storage with intercepted calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};
use crucible_storage::MemoryStorage;

/// An interceptable call with its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StorageCall<'a> {
    Append(&'a [Event]),
    Record,
    PutBlob(&'a Bytes),
}

/// The effect on a call.
pub(crate) enum StorageIntercept {
    /// The call runs.
    PassThrough,
    /// The call runs, and its answer comes after this delay.
    DelayAnswer(Duration),
    /// The call fails with this error and has no effect.
    Fail(StorageError),
}

type Intercept = dyn Fn(StorageCall<'_>) -> StorageIntercept + Send + Sync;

/// A storage that intercepts calls.
pub(crate) struct InterceptedStorage {
    inner: Arc<MemoryStorage>,
    intercept: Box<Intercept>,
}

impl InterceptedStorage {
    pub(crate) fn new(
        inner: &Arc<MemoryStorage>,
        intercept: impl Fn(StorageCall<'_>) -> StorageIntercept + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::clone(inner), intercept: Box::new(intercept) }
    }

    async fn call<T>(
        &self,
        intercepted: StorageIntercept,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match intercepted {
            StorageIntercept::PassThrough => call.await,
            StorageIntercept::DelayAnswer(pause) => {
                let answer = call.await;
                tokio::time::sleep(pause).await;
                answer
            }
            StorageIntercept::Fail(error) => Err(error),
        }
    }
}

impl fmt::Debug for InterceptedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedStorage").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for InterceptedStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        let intercepted = (self.intercept)(StorageCall::Append(&events));
        self.call(intercepted, self.inner.append(id, expected, events)).await
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.call((self.intercept)(StorageCall::Record), self.inner.record(id)).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.inner.records(query).await
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.inner.journal(id, after).await
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        let intercepted = (self.intercept)(StorageCall::PutBlob(&content));
        self.call(intercepted, self.inner.put_blob(content)).await
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.inner.blob(digest).await
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        self.inner.remove(id, expected).await
    }
}
