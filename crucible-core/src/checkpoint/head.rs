//! The newest entries of journals: the leaves of a checkpoint's tree.

use std::future::ready;

use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::merkle::leaf_hash;
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};
use crate::storage::{RecordQuery, Storage, StorageError, StorageExt as _};

/// Where one journal ended: a leaf of a checkpoint's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalHead {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// How many entries its journal had.
    pub sequence: u64,
    /// The hash of the last of them.
    pub hash: Digest,
}

impl JournalHead {
    /// The end of the journal that this record follows from.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { evaluation: record.id, sequence: record.sequence, hash: record.head }
    }

    /// The hash of this leaf: over the id's 16 bytes, the sequence as 8 bytes, the highest first, and the hash's 32.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        let mut content = Vec::with_capacity(56);
        content.extend_from_slice(&self.evaluation.to_bytes());
        content.extend_from_slice(&self.sequence.to_be_bytes());
        content.extend_from_slice(&self.hash.to_bytes());
        leaf_hash(&content)
    }

    /// Whether a journal goes on from here: its entry with this sequence has this hash.
    #[must_use]
    pub fn is_in(&self, journal: &[Event]) -> bool {
        journal.iter().any(|event| {
            (event.evaluation, event.sequence, event.hash)
                == (self.evaluation, self.sequence, self.hash)
        })
    }
}

/// The heads of all journals of a storage, in the order of the evaluations' ids.
///
/// # Errors
/// The storage could not be read: a damaged record too, since a statement that leaves it out would hide it.
pub async fn heads(storage: &dyn Storage) -> Result<Vec<JournalHead>, StorageError> {
    let query = RecordQuery::new().with_limit(RecordQuery::LIMIT_MAX);
    let heads = storage.records_stream(query).and_then(|record| {
        let head = record.map(|record| JournalHead::of(&record));
        ready(head.map_err(|corrupt| StorageError::Corrupt {
            what: format!("the record of evaluation {}", corrupt.evaluation),
            source: Some(corrupt.problem.into()),
        }))
    });
    heads.try_collect().await
}

/// Holds the heads of a checkpoint against a storage: every one of them must be in the journal still, which may have
/// grown since.
///
/// # Errors
/// What is missing or changed first; or the storage could not be read.
pub async fn verify_heads(
    storage: &dyn Storage,
    heads: &[JournalHead],
) -> Result<(), CheckpointError> {
    for head in heads {
        let evaluation = head.evaluation;
        let journal = storage.journal(evaluation, 0).await?;
        if journal.is_empty() {
            return Err(CheckpointError::Missing { evaluation });
        }
        if !head.is_in(&journal) {
            return Err(CheckpointError::Changed { evaluation, sequence: head.sequence });
        }
    }
    Ok(())
}
