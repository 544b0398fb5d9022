//! The removal of ended evaluations.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::journal::RecordState;
use crate::model::{InvalidInput, Timestamp, error_chain};
use crate::storage::{
    CorruptRecord, RecordOrCorrupt, RecordQuery, Storage, StorageError, StorageExt as _,
};

/// The number of records per page. Their records are in memory, with all of their output.
const PAGE_SIZE: usize = 100;
/// The number of concurrent removals. A storage can write concurrent removals together.
const MAX_CONCURRENT: usize = 32;

/// A selection of evaluations to remove: they ended long enough ago and match every condition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The minimum time since the evaluation ended.
    pub older_than: Duration,
    /// The states to remove. Empty means every terminal state.
    pub states: Vec<RecordState>,
    /// The tenant, or `None` for all tenants.
    pub tenant: Option<String>,
    /// The labels that an evaluation must have.
    pub labels: BTreeMap<String, String>,
}

impl Retention {
    /// Selects evaluations that ended at least this long ago. [`Duration::ZERO`] selects all of
    /// them.
    #[must_use]
    pub fn older_than(age: Duration) -> Self {
        Self { older_than: age, states: Vec::new(), tenant: None, labels: BTreeMap::new() }
    }

    /// Adds a state to the selected states.
    #[must_use]
    pub fn with_state(mut self, state: RecordState) -> Self {
        self.states.push(state);
        self
    }

    /// Selects only evaluations of this tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Adds a label that an evaluation must have.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Returns the query for the storage, and the latest end of an evaluation to remove.
    fn query(&self) -> Result<(RecordQuery, Timestamp), InvalidInput> {
        if let Some(state) = self.states.iter().find(|state| !state.is_terminal()) {
            let message = format!("has {state}; only ended evaluations can be removed");
            return Err(InvalidInput::single("states", message));
        }
        let age = u64::try_from(self.older_than.as_micros()).unwrap_or(u64::MAX);
        let until = Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(age));
        let mut query = RecordQuery::new().with_limit(PAGE_SIZE);
        query.states.clone_from(&self.states);
        if query.states.is_empty() {
            query.states.extend(RecordState::ALL.into_iter().filter(|state| state.is_terminal()));
        }
        query.tenant.clone_from(&self.tenant);
        query.labels.clone_from(&self.labels);
        // An evaluation that ended by `until` was also submitted by then.
        query.submitted_before = Some(until.saturating_add(Duration::from_micros(1)));
        Ok((query, until))
    }
}

/// The result of a purge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PurgeReport {
    /// The number of removed evaluations.
    pub removed: u64,
    /// Evaluations that cannot be read. They were not removed.
    pub corrupt: Vec<CorruptRecord>,
}

/// The reason why a purge is incomplete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// The retention is not valid. No evaluation was removed.
    #[error("the retention is not valid")]
    Invalid(#[from] InvalidInput),
    /// The storage failed.
    #[error("cannot remove all evaluations: {removed} were removed")]
    Storage {
        /// The number of removed evaluations.
        removed: u64,
        /// The failure.
        #[source]
        source: StorageError,
    },
}

/// Removes ended evaluations from a storage.
///
/// It removes records, journals, idempotency keys, and blobs that no other evaluation refers to. A
/// removed key can be used again.
///
/// # Cancel safety
/// Dropping the future leaves some evaluations removed.
///
/// # Errors
/// See [`PurgeError`]. A corrupt evaluation is not an error: it stays and is listed in
/// [`PurgeReport::corrupt`].
pub async fn purge_storage(
    storage: &dyn Storage,
    retention: &Retention,
) -> Result<PurgeReport, PurgeError> {
    let (query, until) = retention.query()?;
    let mut report = PurgeReport::default();
    let mut failed = None;
    // After a failure no further removal starts. The started removals end and are counted.
    let stop = CancellationToken::new();
    let removals = storage
        .records_stream(query)
        .take_until(stop.cancelled())
        .map(|item| remove(storage, item, until))
        .buffer_unordered(MAX_CONCURRENT);
    let mut removals = pin!(removals);
    while let Some(removal) = removals.next().await {
        match removal {
            Ok(Removal::Removed) => report.removed += 1,
            Ok(Removal::Skipped) => {}
            Ok(Removal::Corrupt(corrupt)) => report.corrupt.push(corrupt),
            Err(error) => {
                stop.cancel();
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        Some(source) => Err(PurgeError::Storage { removed: report.removed, source }),
        None => Ok(report),
    }
}

/// The result of the removal of one evaluation.
enum Removal {
    Removed,
    /// The evaluation is too young, or another process changed or removed it.
    Skipped,
    Corrupt(CorruptRecord),
}

/// Removes an evaluation that ended by `until`.
async fn remove(
    storage: &dyn Storage,
    item: Result<RecordOrCorrupt, StorageError>,
    until: Timestamp,
) -> Result<Removal, StorageError> {
    let record = match item? {
        Ok(record) if record.updated_at <= until => record,
        Ok(_) => return Ok(Removal::Skipped),
        Err(corrupt) => return Ok(Removal::Corrupt(corrupt)),
    };
    match storage.remove(record.id, record.sequence).await {
        Ok(true) => Ok(Removal::Removed),
        Ok(false) | Err(StorageError::Conflict { .. }) => Ok(Removal::Skipped),
        Err(error @ StorageError::Corrupt { .. }) => {
            Ok(Removal::Corrupt(CorruptRecord::new(record.id, error_chain(&error))))
        }
        Err(error) => Err(error),
    }
}
