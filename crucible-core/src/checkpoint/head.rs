//! The newest entries of journals: the leaves of a checkpoint's tree.

use std::future::ready;

use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::merkle::leaf_hash;
use crate::journal::{Event, Record};
use crate::model::{Digest, EvaluationId};
use crate::storage::{RecordQuery, Storage, StorageError, StorageExt as _};

/// The end of one journal: a leaf of a checkpoint's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalHead {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The number of entries in its journal.
    pub sequence: u64,
    /// The hash of the last entry.
    pub hash: Digest,
}

impl JournalHead {
    /// Returns the end of a record's journal.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { evaluation: record.id, sequence: record.sequence, hash: record.head }
    }

    /// Computes the hash of this leaf: over the 16 bytes of the id, the 8 bytes of the sequence in
    /// big-endian order, and the 32 bytes of the hash.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        let mut content = Vec::with_capacity(56);
        content.extend_from_slice(&self.evaluation.to_bytes());
        content.extend_from_slice(&self.sequence.to_be_bytes());
        content.extend_from_slice(&self.hash.to_bytes());
        leaf_hash(&content)
    }

    /// Returns `true` if the journal contains this head: its entry with this sequence has this
    /// hash.
    #[must_use]
    pub fn is_in(&self, journal: &[Event]) -> bool {
        journal.iter().any(|event| {
            (event.evaluation, event.sequence, event.hash)
                == (self.evaluation, self.sequence, self.hash)
        })
    }
}

/// Returns the heads of all journals of a storage, in the order of the evaluations' ids.
///
/// # Errors
/// Returns an error if the storage cannot be read. A corrupt record is an error too, because a
/// checkpoint without it would hide it.
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

/// Verifies that the journals of a storage still contain the heads of a checkpoint. Journals may
/// have grown since.
///
/// # Errors
/// Returns an error for the first missing or changed journal, or if the storage cannot be read.
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
