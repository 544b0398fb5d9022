//! The storage trait.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::StorageError;
use super::page::RecordPage;
use super::query::RecordQuery;
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};

/// The source of truth: a journal for each evaluation, the record that follows from it, and blobs
/// by their hash.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Appends events to a journal with `expected` entries, and returns the record that follows.
    ///
    /// `expected` is the fencing token: a worker that lost its claim gets a conflict, because
    /// another writer appended first.
    ///
    /// # Behavior
    /// - The storage appends all events, or none.
    /// - If the journal has another length, the result is a [`StorageError::Conflict`] with that
    ///   length.
    /// - Each event must belong to this evaluation and follow by [`Record::apply`]. The storage
    ///   refuses signals.
    /// - Without events, the result is the current record. An empty append does not begin a
    ///   journal.
    /// - If the first event has an idempotency key that the tenant has used, the result is a
    ///   [`StorageError::KeyTaken`].
    /// - A [refused](Record::is_refused) record releases its key: another evaluation can take it.
    /// - When this returns, the events are as durable as the storage promises.
    ///
    /// # Cancel safety
    /// If the future is dropped, the storage has appended all events, or none.
    ///
    /// # Errors
    /// Returns the errors above, or an error if the storage is unavailable, full or poisoned.
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError>;

    /// Returns the record of an evaluation; `None` if there is none.
    ///
    /// # Behavior
    /// - The record is the fold of the journal.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if the record is corrupt, or if the storage is unavailable.
    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError>;

    /// Returns one page of the records that match a query.
    ///
    /// # Behavior
    /// - The order is that of the ids, which is the order of submission, or its reverse.
    /// - Following [`RecordPage::next`] returns each record that always matched exactly once.
    /// - A corrupt record hides no other record. [`RecordPage::corrupt`] lists it.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if the index is corrupt, or if the storage is unavailable.
    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError>;

    /// Returns the entries of a journal after the sequence number `after`.
    ///
    /// # Behavior
    /// - The entries are in order, without a gap. With `after` 0, they are the whole journal.
    /// - The result is empty if the journal does not exist.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if an entry is corrupt, or if the storage is unavailable.
    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError>;

    /// Stores a blob and returns its hash, which is its name.
    ///
    /// # Behavior
    /// - The storage keeps identical blobs once.
    /// - The blob stays while the storage is open, unless all evaluations that refer to it are
    ///   removed. Each call counts for one evaluation that is about to refer to it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the blob is either stored or not.
    ///
    /// # Errors
    /// Returns an error if the storage is unavailable, full or poisoned.
    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError>;

    /// Returns the blob with this hash; `None` if there is none.
    ///
    /// # Behavior
    /// - The storage verifies that the bytes have this hash.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Returns an error if the blob is corrupt, or if the storage is unavailable.
    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError>;

    /// Removes an ended evaluation: its record, its journal, its idempotency key and its blobs.
    ///
    /// Returns `false` if the evaluation does not exist.
    ///
    /// # Behavior
    /// - Afterwards no method returns a part of the evaluation, and its key can be used again.
    /// - A blob that another evaluation refers to stays.
    /// - If the journal has another length, the result is a [`StorageError::Conflict`] with that
    ///   length.
    /// - If the evaluation has not ended, the result is a [`StorageError::NotEnded`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the evaluation is either removed or not.
    ///
    /// # Errors
    /// Returns the errors above, or an error if the evaluation is corrupt, or if the storage is
    /// unavailable, full or poisoned.
    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError>;
}
