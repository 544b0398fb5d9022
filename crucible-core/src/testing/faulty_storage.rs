//! A storage with injected faults.

use async_trait::async_trait;
use bytes::Bytes;

use super::faults::{Faults, InjectedFault};
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};
use crate::storage::{RecordPage, RecordQuery, Storage, StorageError};

/// A storage that fails with [`StorageError::Unavailable`] according to a plan.
#[derive(Debug, Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    faults: Faults,
}

impl<S> FaultyStorage<S> {
    /// Wraps a storage with a plan.
    #[must_use]
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

fn unavailable(fault: InjectedFault) -> StorageError {
    StorageError::Unavailable { source: fault.into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for FaultyStorage<S> {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        self.faults.call(self.inner.append(id, expected, events), unavailable).await
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        self.faults.call(self.inner.record(id), unavailable).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
        self.faults.call(self.inner.records(query), unavailable).await
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.faults.call(self.inner.journal(id, after), unavailable).await
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        self.faults.call(self.inner.put_blob(content), unavailable).await
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.faults.call(self.inner.blob(digest), unavailable).await
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        self.faults.call(self.inner.remove(id, expected), unavailable).await
    }
}
