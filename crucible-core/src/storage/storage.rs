//! The truth: journals, the records that follow from them, and blobs.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::engine::error::BoxError;
use crate::journal::event::Event;
use crate::journal::record::{Record, State, TransitionError};
use crate::model::digest::Digest;
use crate::model::id::EvaluationId;
use crate::model::time::Timestamp;

/// Which records to give, in which order, how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// Only those in one of these states; all if empty.
    pub states: Vec<State>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those submitted at this moment or later.
    pub submitted_from: Option<Timestamp>,
    /// Only those submitted before this moment.
    pub submitted_before: Option<Timestamp>,
    /// Only those after this one, in the order of the query: the `next` of the page before.
    pub after: Option<EvaluationId>,
    /// The newest first; by default the oldest.
    pub newest_first: bool,
    /// At most this many at once; 100 by default, at most [`RecordQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl Default for RecordQuery {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            tenant: None,
            labels: BTreeMap::new(),
            submitted_from: None,
            submitted_before: None,
            after: None,
            newest_first: false,
            limit: 100,
        }
    }
}

impl RecordQuery {
    /// The most records of a page.
    pub const LIMIT_MAX: usize = 1000;

    /// All records, the oldest first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those in this state, or in one named before.
    #[must_use]
    pub fn with_state(mut self, state: State) -> Self {
        self.states.push(state);
        self
    }

    /// Only this tenant's.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Only those with this label, and those named before.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Only those submitted from `from` on and before `before`.
    #[must_use]
    pub fn with_submitted(mut self, from: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        self.submitted_from = from;
        self.submitted_before = before;
        self
    }

    /// Only those after this one.
    #[must_use]
    pub fn with_after(mut self, after: EvaluationId) -> Self {
        self.after = Some(after);
        self
    }

    /// The newest first.
    #[must_use]
    pub fn with_newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// At most this many at once.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How many a page holds: the limit, within its bounds.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit.clamp(1, Self::LIMIT_MAX)
    }

    /// Whether a record is wanted, the place in the order aside.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let evaluation = &record.evaluation;
        (self.states.is_empty() || self.states.contains(&record.state))
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == evaluation.tenant)
            && self.labels.iter().all(|(name, value)| evaluation.labels.get(name) == Some(value))
            && self.submitted_from.is_none_or(|from| record.submitted_at >= from)
            && self.submitted_before.is_none_or(|before| record.submitted_at < before)
    }
}

/// An evaluation that is stored and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptRecord {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// What of it cannot be read, and why.
    pub problem: String,
}

impl CorruptRecord {
    /// An evaluation that cannot be read.
    #[must_use]
    pub fn new(evaluation: EvaluationId, problem: impl Into<String>) -> Self {
        Self { evaluation, problem: problem.into() }
    }
}

/// Some records, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Those in this part of the order that cannot be read, so that nobody knows whether they are wanted.
    pub corrupt: Vec<CorruptRecord>,
    /// What to ask for [`RecordQuery::after`] to get the next page; `None` if this was the last.
    pub next: Option<EvaluationId>,
}

impl Page {
    /// A page.
    #[must_use]
    pub fn new(records: Vec<Record>, next: Option<EvaluationId>) -> Self {
        Self { records, corrupt: Vec::new(), next }
    }

    /// The same page with those that cannot be read.
    #[must_use]
    pub fn with_corrupt(mut self, damaged: Vec<CorruptRecord>) -> Self {
        self.corrupt = damaged;
        self
    }
}

/// The kinds of [`StorageError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// Somebody else wrote first.
    Conflict,
    /// The idempotency key belongs to another evaluation.
    KeyTaken,
    /// The events do not follow from the record.
    Transition,
    /// The evaluation has not ended.
    NotEnded,
    /// Something stored cannot be read.
    Corrupt,
    /// There is no room.
    Full,
    /// What the storage stands on is away.
    Unavailable,
    /// The storage refuses to write after damage.
    Poisoned,
}

/// What can go wrong with a storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Somebody else wrote first: the journal does not have the expected length.
    #[error(
        "the journal of evaluation {evaluation} has {actual} entries where {expected} were expected"
    )]
    Conflict {
        /// The evaluation.
        evaluation: EvaluationId,
        /// How many entries were expected.
        expected: u64,
        /// How many there are.
        actual: u64,
    },
    /// The tenant's idempotency key belongs to another evaluation.
    #[error("the idempotency key {key:?} belongs to evaluation {existing}")]
    KeyTaken {
        /// The key.
        key: String,
        /// The evaluation that has it.
        existing: EvaluationId,
    },
    /// The events do not follow from the record, or from one another.
    #[error("the events do not fit the record of evaluation {evaluation}")]
    Transition {
        /// The evaluation.
        evaluation: EvaluationId,
        /// In what way.
        #[source]
        source: TransitionError,
    },
    /// The evaluation has not ended, so it is not removed.
    #[error("evaluation {evaluation} is {state}: only what has ended can be removed")]
    NotEnded {
        /// The evaluation.
        evaluation: EvaluationId,
        /// Where it stands.
        state: State,
    },
    /// Something stored cannot be read. Everything else still can.
    #[error("{what} cannot be read")]
    Corrupt {
        /// What: a record, an entry, a blob, by name.
        what: String,
        /// Why.
        #[source]
        source: Option<BoxError>,
    },
    /// There is no room.
    #[error("the storage is full")]
    Full {
        /// What said so.
        #[source]
        source: Option<BoxError>,
    },
    /// What the storage stands on is away; it may come back.
    #[error("the storage is not available")]
    Unavailable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The storage refuses to write after damage.
    #[error("the storage is poisoned: {reason}")]
    Poisoned {
        /// What was damaged.
        reason: String,
    },
}

impl StorageError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            Self::Conflict { .. } => StorageErrorKind::Conflict,
            Self::KeyTaken { .. } => StorageErrorKind::KeyTaken,
            Self::Transition { .. } => StorageErrorKind::Transition,
            Self::NotEnded { .. } => StorageErrorKind::NotEnded,
            Self::Corrupt { .. } => StorageErrorKind::Corrupt,
            Self::Full { .. } => StorageErrorKind::Full,
            Self::Unavailable { .. } => StorageErrorKind::Unavailable,
            Self::Poisoned { .. } => StorageErrorKind::Poisoned,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), StorageErrorKind::Full | StorageErrorKind::Unavailable)
    }
}

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
    /// - Following [`Page::next`] gives every record once that matched throughout.
    /// - A record that cannot be read hides no other: it is named in [`Page::damaged`].
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// The order itself is corrupt, or the storage is away.
    async fn records(&self, query: &RecordQuery) -> Result<Page, StorageError>;

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
