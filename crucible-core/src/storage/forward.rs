//! Implementations of [`Storage`] for `Arc` and `Box`.
//!
//! Each method is forwarded explicitly. The lint `missing_trait_methods` rejects a missing method,
//! which would silently use its default.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::StorageError;
use super::page::RecordPage;
use super::query::RecordQuery;
use super::storage_trait::Storage;
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};

macro_rules! forward {
    ($($pointer:ident)*) => { $(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Storage + ?Sized> Storage for $pointer<T> {
            async fn append(
                &self,
                id: EvaluationId,
                expected: u64,
                events: Vec<Event>,
            ) -> Result<Record, StorageError> {
                (**self).append(id, expected, events).await
            }

            async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
                (**self).record(id).await
            }

            async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
                (**self).records(query).await
            }

            async fn journal(
                &self,
                id: EvaluationId,
                after: u64,
            ) -> Result<Vec<Event>, StorageError> {
                (**self).journal(id, after).await
            }

            async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
                (**self).put_blob(content).await
            }

            async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
                (**self).blob(digest).await
            }

            async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
                (**self).remove(id, expected).await
            }
        }
    )* };
}

forward!(Arc Box);
