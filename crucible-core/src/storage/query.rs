//! Queries for records.

use std::collections::BTreeMap;

use crate::journal::{Record, RecordState};
use crate::model::{EvaluationId, Timestamp};

/// Which records to give, in which order, how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// Only those in one of these states; all if empty.
    pub states: Vec<RecordState>,
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
    pub fn with_state(mut self, state: RecordState) -> Self {
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
