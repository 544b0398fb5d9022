//! Pages of records.

use crate::journal::Record;
use crate::model::EvaluationId;

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
pub struct RecordPage {
    /// The records.
    pub records: Vec<Record>,
    /// Those in this part of the order that cannot be read, so that nobody knows whether they are wanted.
    pub corrupt: Vec<CorruptRecord>,
    /// What to ask for [`RecordQuery::after`] to get the next page; `None` if this was the last.
    pub next: Option<EvaluationId>,
}

impl RecordPage {
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
