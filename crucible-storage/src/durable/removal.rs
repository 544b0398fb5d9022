//! The removal of an evaluation.

use std::collections::BTreeSet;

use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, StorageError, Timestamp};
use crucible_kv::Transaction;

use super::error::StorageFailure;
use super::record_row::RecordRow;
use super::storage_view::LoadedRecord;
use super::{blob_references, idempotency_key, keys, time_index};

/// The removal of an ended evaluation, checked outside the writer thread.
#[derive(Debug)]
pub(super) struct EvaluationRemoval {
    id: EvaluationId,
    expected: u64,
    before: Bytes,
    index_keys: BTreeSet<Bytes>,
    idempotency_key: Option<Bytes>,
    submitted_at: Timestamp,
    /// The files of large entries and the artifacts, once for each reference.
    references: Vec<Digest>,
}

impl EvaluationRemoval {
    /// Checks that an evaluation can be removed. `references` are the references of its entries.
    pub(super) fn prepare(
        loaded: LoadedRecord,
        expected: u64,
        references: Vec<Digest>,
    ) -> Result<Self, StorageFailure> {
        let LoadedRecord { record, row, .. } = loaded;
        let evaluation = record.id;
        if record.sequence != expected {
            let actual = record.sequence;
            return Err(StorageError::Conflict { evaluation, expected, actual }.into());
        }
        if !record.state.is_terminal() {
            return Err(StorageError::NotEnded { evaluation, state: record.state }.into());
        }
        let key = record.evaluation.idempotency_key.as_deref();
        Ok(Self {
            id: evaluation,
            expected,
            before: row,
            index_keys: keys::index_keys(&record),
            idempotency_key: key.map(|key| keys::idempotency(&record.evaluation.tenant, key)),
            submitted_at: record.submitted_at,
            references,
        })
    }

    /// Removes the evaluation. Returns `false` if another writer has removed it.
    pub(super) fn write(&self, map: &mut Transaction<'_>) -> Result<bool, StorageFailure> {
        let (evaluation, expected) = (self.id, self.expected);
        match map.get(&keys::row(evaluation))? {
            None => return Ok(false),
            Some(row) if row == self.before => {}
            // No entry can follow an ending, but the id can be removed and submitted again.
            Some(row) => {
                let actual = RecordRow::decode(evaluation, &row)?.sequence;
                return Err(StorageError::Conflict { evaluation, expected, actual }.into());
            }
        }
        if let Some(key) = &self.idempotency_key
            && idempotency_key::owner(map, key)? == Some(evaluation)
        {
            map.delete(key.clone());
        }
        time_index::remove(map, self.submitted_at)?;
        for digest in &self.references {
            blob_references::remove(map, *digest)?;
        }
        self.index_keys.iter().for_each(|key| map.delete(key.clone()));
        (0..=expected).for_each(|sequence| map.delete(keys::entry(evaluation, sequence)));
        Ok(true)
    }
}
