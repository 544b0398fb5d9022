//! Pages of records.

use crate::journal::Record;
use crate::model::EvaluationId;

/// A stored evaluation that the storage cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptRecord {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The unreadable part and the reason.
    pub problem: String,
}

impl CorruptRecord {
    /// Creates a corrupt record.
    #[must_use]
    pub fn new(evaluation: EvaluationId, problem: impl Into<String>) -> Self {
        Self { evaluation, problem: problem.into() }
    }
}

/// A page of records, and the position of the next page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecordPage {
    /// The records.
    pub records: Vec<Record>,
    /// The corrupt records in this part of the order. The storage cannot apply the query's filter
    /// to them.
    pub corrupt: Vec<CorruptRecord>,
    /// The [`RecordQuery::after`](crate::RecordQuery::after) of the next page; `None` if this page
    /// is the last.
    pub next: Option<EvaluationId>,
}

impl RecordPage {
    /// Creates a page without corrupt records.
    #[must_use]
    pub fn new(records: Vec<Record>, next: Option<EvaluationId>) -> Self {
        Self { records, corrupt: Vec::new(), next }
    }

    /// Sets the corrupt records.
    #[must_use]
    pub fn with_corrupt(mut self, corrupt: Vec<CorruptRecord>) -> Self {
        self.corrupt = corrupt;
        self
    }
}
