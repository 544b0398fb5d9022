//! Whether everything in a storage is what was written.

use futures::TryStreamExt as _;

use super::error::StorageError;
use super::page::CorruptRecord;
use super::query::RecordQuery;
use super::storage_ext::StorageExt as _;
use super::storage_trait::Storage;
use crate::journal::{Event, Record, verify_against};
use crate::model::error_chain;

/// How many records are looked at together.
const PAGE: usize = 100;

/// What [`verify_storage`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// How many evaluations were looked at.
    pub evaluations: u64,
    /// How many entries their journals have.
    pub entries: u64,
    /// How many blobs they name, each counted as often as it is named.
    pub blobs: u64,
    /// The evaluations of which something is not what was written, in the order of their ids, and the first such thing of
    /// each.
    pub wrong: Vec<CorruptRecord>,
}

impl Verification {
    /// Whether everything is what was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Walks every journal of a storage: every hash, every link, every transition, that the record is what follows from them, and
/// that each blob they name has its hash. Evaluations may go on meanwhile: of those, what was there is looked at.
///
/// What was removed as a whole leaves nothing that could be wrong: hold the heads against some that were kept elsewhere.
///
/// # Errors
/// The storage is away. What cannot be read is no error, but wrong.
pub async fn verify_storage(storage: &dyn Storage) -> Result<Verification, StorageError> {
    let mut found = Verification::default();
    let mut records = storage.records_stream(RecordQuery::new().with_limit(PAGE));
    while let Some(record) = records.try_next().await? {
        found.evaluations += 1;
        let record = match record {
            Ok(record) => record,
            Err(corrupt) => {
                found.wrong.push(corrupt);
                continue;
            }
        };
        match look_at(storage, &record, &mut found).await {
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

/// The first thing of an evaluation that is wrong.
async fn look_at(
    storage: &dyn Storage,
    record: &Record,
    found: &mut Verification,
) -> Result<Option<String>, StorageError> {
    let mut events = storage.journal(record.id, 0).await?;
    // What was written since is not what the record says.
    events.truncate(usize::try_from(record.sequence).unwrap_or(usize::MAX));
    found.entries += events.len() as u64;
    match verify_against(&events, record.head) {
        Ok(Some(folded)) if folded == *record => blobs(storage, &events, found).await,
        Ok(Some(_)) => Ok(Some("the record is not what follows from the journal".to_owned())),
        // It was removed meanwhile.
        _ if storage.record(record.id).await?.is_none() => Ok(None),
        Ok(None) => Ok(Some("there is a record and no journal".to_owned())),
        Err(error) => Ok(Some(error_chain(&error))),
    }
}

async fn blobs(
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
                    "entry {sequence} names the blob {digest}, which is not there"
                )));
            }
        }
    }
    Ok(None)
}
