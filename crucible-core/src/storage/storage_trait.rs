//! The truth: journals, the records that follow from them, and blobs.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::StorageError;
use super::page::RecordPage;
use super::query::RecordQuery;
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};

/// Keeps the truth: for each evaluation a journal, and the record that follows from it; blobs by their hash.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Appends events to a journal that has `expected` entries, and gives the record that follows.
    ///
    /// `expected` is the fencing token: whoever lost the right to write finds that somebody else wrote first.
    ///
    /// # Behavior
    /// - All events are appended, or none.
    /// - A journal of another length is a [`StorageError::Conflict`] that says its length.
    /// - Every event must be this evaluation's and follow by [`Record::apply`], so a signal is refused.
    /// - No event at all gives the record as it is; it does not begin a journal.
    /// - A first event with an idempotency key that the tenant has used is a [`StorageError::KeyTaken`].
    /// - A record that [is refused](Record::is_refused) has no key any more: another evaluation can take it.
    /// - When this returns, the events are as durable as the storage promises.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all events appended, or none.
    ///
    /// # Errors
    /// See above, or the storage is away, full or poisoned.
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError>;

    /// The record of an evaluation; `None` if there is none.
    ///
    /// # Behavior
    /// - It is the fold of the journal.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// The record is corrupt, or the storage is away.
    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError>;

    /// The records that a query asks for, a page at a time.
    ///
    /// # Behavior
    /// - In the order of their ids, which is that of their submission, or the other way round.
    /// - Following [`RecordPage::next`] gives every record once that matched throughout.
    /// - A record that cannot be read hides no other: it is named in [`RecordPage::damaged`].
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// The order itself is corrupt, or the storage is away.
    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError>;

    /// The entries of a journal after the one with the sequence `after`; all for 0, none if there is no such journal.
    ///
    /// # Behavior
    /// - In order, without a gap.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// An entry is corrupt, or the storage is away.
    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError>;

    /// Keeps a blob and gives its hash, which is its name.
    ///
    /// # Behavior
    /// - The same bytes kept twice are kept once.
    /// - It stays as long as the storage is open, unless every evaluation that names it has been removed. Each call counts for
    ///   one evaluation that is about to name it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the blob either kept or not.
    ///
    /// # Errors
    /// The storage is away, full or poisoned.
    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError>;

    /// The blob with this hash; `None` if there is none.
    ///
    /// # Behavior
    /// - Its bytes have that hash.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// The blob is corrupt, or the storage is away.
    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError>;

    /// Removes an evaluation that has ended: its record, its journal, its idempotency key, its blobs. `false` if there is
    /// none.
    ///
    /// # Behavior
    /// - Nothing of it can be found any more, and its key can be used again.
    /// - A blob that another evaluation names as well stays.
    /// - A journal of another length is a [`StorageError::Conflict`] that says its length.
    /// - An evaluation that has not ended is a [`StorageError::NotEnded`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the evaluation removed or not.
    ///
    /// # Errors
    /// See above, or the evaluation is corrupt, or the storage is away, full or poisoned.
    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError>;
}
