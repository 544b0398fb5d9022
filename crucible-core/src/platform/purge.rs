//! Removing what is no longer needed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::crucible::Crucible;
use crate::journal::{Record, RecordState};
use crate::model::{InvalidInput, Timestamp, error_chain};
use crate::storage::{CorruptRecord, RecordQuery, Storage, StorageError};

/// How many evaluations are looked at together. Their records are in memory then, with all of their output.
const PAGE: usize = 100;
/// How many are removed at once, so that a storage can write several removals together.
const AT_ONCE: usize = 32;

/// What to remove: evaluations that ended long enough ago, and that all of this is true of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Only what ended this long ago, or longer.
    pub older_than: Duration,
    /// Only those in one of these states; in any in which an evaluation has ended, if empty.
    pub states: Vec<RecordState>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
}

impl Retention {
    /// Everything that ended this long ago, or longer. [`Duration::ZERO`] is everything that has ended.
    #[must_use]
    pub fn older_than(age: Duration) -> Self {
        Self { older_than: age, states: Vec::new(), tenant: None, labels: BTreeMap::new() }
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

    /// What to ask a storage for, and until when an evaluation must have ended.
    fn query(&self) -> Result<(RecordQuery, Timestamp), InvalidInput> {
        if let Some(state) = self.states.iter().find(|state| !state.is_terminal()) {
            let message = format!("has {state}; only what has ended can be removed");
            return Err(InvalidInput::single("states", message));
        }
        let age = u64::try_from(self.older_than.as_micros()).unwrap_or(u64::MAX);
        let until = Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(age));
        let mut query = RecordQuery::new().with_limit(PAGE);
        query.states.clone_from(&self.states);
        if query.states.is_empty() {
            query.states.extend(RecordState::ALL.into_iter().filter(|state| state.is_terminal()));
        }
        query.tenant.clone_from(&self.tenant);
        query.labels.clone_from(&self.labels);
        // What ended by then was submitted by then.
        query.submitted_before = Some(until.saturating_add(Duration::from_micros(1)));
        Ok((query, until))
    }
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PurgeReport {
    /// How many evaluations were removed.
    pub removed: u64,
    /// Those that cannot be read, and so were not removed.
    pub corrupt: Vec<CorruptRecord>,
}

/// Not everything was removed that was to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// What to remove is not valid; nothing was removed.
    #[error("what to remove is not valid")]
    Invalid(#[from] InvalidInput),
    /// The storage failed.
    #[error("the storage failed after {removed} evaluations were removed")]
    Storage {
        /// How many evaluations were removed before.
        removed: u64,
        /// Why it failed.
        #[source]
        source: StorageError,
    },
}

/// Removes evaluations that have ended from a storage, with everything that is kept of them: records, journals, blobs that no
/// other evaluation names, and idempotency keys, so that a key can be used again.
///
/// # Cancel safety
/// Dropping the future leaves some removed.
///
/// # Errors
/// See [`PurgeError`]. One that cannot be read is no error: it is named in [`PurgeReport::corrupt`], and stays.
pub async fn purge_storage(
    storage: &dyn Storage,
    retention: &Retention,
) -> Result<PurgeReport, PurgeError> {
    let (mut query, until) = retention.query()?;
    let mut purged = PurgeReport::default();
    loop {
        let page = match storage.records(&query).await {
            Ok(page) => page,
            Err(source) => return Err(PurgeError::Storage { removed: purged.removed, source }),
        };
        purged.corrupt.extend(page.corrupt);
        let old: Vec<_> =
            page.records.into_iter().filter(|record| record.updated_at <= until).collect();
        remove_all(storage, old, &mut purged).await?;
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(purged),
        }
    }
}

async fn remove_all(
    storage: &dyn Storage,
    records: Vec<Record>,
    purged: &mut PurgeReport,
) -> Result<(), PurgeError> {
    let removals = records
        .into_iter()
        .map(|record| async move { (record.id, storage.remove(record.id, record.sequence).await) });
    let mut removals = stream::iter(removals).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some((id, removed)) = removals.next().await {
        match removed {
            Ok(true) => purged.removed += 1,
            // Somebody else was faster.
            Ok(false) | Err(StorageError::Conflict { .. }) => {}
            Err(error @ StorageError::Corrupt { .. }) => {
                purged.corrupt.push(CorruptRecord::new(id, error_chain(&error)));
            }
            // The others are under way, and are counted as well.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(source) => Err(PurgeError::Storage { removed: purged.removed, source }),
        None => Ok(()),
    }
}

impl Crucible {
    /// Removes evaluations that have ended, see [`purge_storage`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves some removed.
    ///
    /// # Errors
    /// See [`PurgeError`].
    pub async fn purge(&self, retention: &Retention) -> Result<PurgeReport, PurgeError> {
        purge_storage(self.storage(), retention).await
    }
}
