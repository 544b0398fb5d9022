//! Queries for records.

use std::collections::BTreeMap;

use crate::journal::{Record, RecordState};
use crate::model::{EvaluationId, Timestamp};

/// A filter, an order and a page size for records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// Selects records in one of these states; all states if empty.
    pub states: Vec<RecordState>,
    /// Selects the records of this tenant.
    pub tenant: Option<String>,
    /// Selects records with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Selects records submitted at this time or later.
    pub submitted_from: Option<Timestamp>,
    /// Selects records submitted before this time.
    pub submitted_before: Option<Timestamp>,
    /// Selects records after this one, in the order of the query: the `next` of the previous page.
    pub after: Option<EvaluationId>,
    /// Whether the newest record comes first. By default the oldest does.
    pub newest_first: bool,
    /// The page size: 100 by default, at most [`RecordQuery::LIMIT_MAX`].
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
    /// The maximum number of records of a page.
    pub const LIMIT_MAX: usize = 1000;

    /// Creates a query for all records, the oldest first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects records in this state, in addition to the states set before.
    #[must_use]
    pub fn with_state(mut self, state: RecordState) -> Self {
        self.states.push(state);
        self
    }

    /// Selects the records of this tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Selects records with this label, in addition to the labels set before.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Selects records submitted at or after `from` and before `before`.
    #[must_use]
    pub fn with_submitted(mut self, from: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        self.submitted_from = from;
        self.submitted_before = before;
        self
    }

    /// Selects records after this one, in the order of the query.
    #[must_use]
    pub fn with_after(mut self, after: EvaluationId) -> Self {
        self.after = Some(after);
        self
    }

    /// Orders the records from the newest to the oldest.
    #[must_use]
    pub fn with_newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Sets the page size.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the page size: the limit, within its bounds.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit.clamp(1, Self::LIMIT_MAX)
    }

    /// Returns `true` if a record matches the filter, without regard to `after`.
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
