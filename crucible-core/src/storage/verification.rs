//! Verification of a whole storage.

use futures::TryStreamExt as _;

use super::error::StorageError;
use super::page::CorruptRecord;
use super::query::RecordQuery;
use super::storage_ext::StorageExt as _;
use super::storage_trait::Storage;
use crate::journal::{Event, Record, verify_against};
use crate::model::error_chain;

/// The number of records per page.
const PAGE_SIZE: usize = 100;

/// The result of [`verify_storage`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The number of verified evaluations.
    pub evaluations: u64,
    /// The number of entries in their journals.
    pub entries: u64,
    /// The number of references to blobs in their journals.
    pub blobs: u64,
    /// The evaluations that failed, in the order of their ids, with the first problem of each.
    pub wrong: Vec<CorruptRecord>,
}

impl Verification {
    /// Returns `true` if no evaluation failed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Verifies all journals of a storage.
///
/// For each evaluation it checks all hashes, links and transitions, that the record follows from
/// the journal, and that each blob has its hash. Evaluations may continue meanwhile: it checks the
/// entries up to the record that it read.
///
/// It cannot detect the removal of a whole evaluation. For that, compare the heads with a copy that
/// you keep outside the storage.
///
/// # Errors
/// Returns an error if the storage is unavailable. Corrupt records are part of the result.
pub async fn verify_storage(storage: &dyn Storage) -> Result<Verification, StorageError> {
    let mut found = Verification::default();
    let mut records = storage.records_stream(RecordQuery::new().with_limit(PAGE_SIZE));
    while let Some(record) = records.try_next().await? {
        found.evaluations += 1;
        let record = match record {
            Ok(record) => record,
            Err(corrupt) => {
                found.wrong.push(corrupt);
                continue;
            }
        };
        match first_problem(storage, &record, &mut found).await {
            Ok(None) => {}
            Ok(Some(problem)) => found.wrong.push(CorruptRecord::new(record.id, problem)),
            Err(error @ StorageError::Corrupt { .. }) => {
                found.wrong.push(CorruptRecord::new(record.id, error_chain(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    found.wrong.sort_by_key(|wrong| wrong.evaluation);
    Ok(found)
}

/// Returns the first problem of an evaluation.
async fn first_problem(
    storage: &dyn Storage,
    record: &Record,
    found: &mut Verification,
) -> Result<Option<String>, StorageError> {
    let mut events = storage.journal(record.id, 0).await?;
    // The record does not cover entries that were appended since.
    events.truncate(usize::try_from(record.sequence).unwrap_or(usize::MAX));
    found.entries += events.len() as u64;
    match verify_against(&events, record.head) {
        Ok(Some(folded)) if folded == *record => missing_blob(storage, &events, found).await,
        Ok(Some(_)) => Ok(Some("the record does not follow from the journal".to_owned())),
        // The evaluation was removed meanwhile.
        _ if storage.record(record.id).await?.is_none() => Ok(None),
        Ok(None) => Ok(Some("the record has no journal".to_owned())),
        Err(error) => Ok(Some(error_chain(&error))),
    }
}

/// Returns the first reference to a missing blob.
async fn missing_blob(
    storage: &dyn Storage,
    events: &[Event],
    found: &mut Verification,
) -> Result<Option<String>, StorageError> {
    for event in events {
        for digest in event.kind.blobs() {
            found.blobs += 1;
            if storage.blob(digest).await?.is_none() {
                let sequence = event.sequence;
                return Ok(Some(format!(
                    "entry {sequence} refers to blob {digest}, which does not exist"
                )));
            }
        }
    }
    Ok(None)
}
