//! The stored form of a record, without the data in its journal entries.

use bytes::Bytes;
use crucible_core::{
    Digest, ErrorReport, EvaluationId, Event, EventKind, Record, RecordState, Timestamp, WorkerId,
};
use crucible_kv::{verify_checksum, write_with_checksum};
use serde::{Deserialize, Serialize};

use super::error::{Corruption, StorageFailure, corrupt};
use super::keys;

/// The expected length of an encoded row.
const ENCODED_BYTES: usize = 512;

/// A record without its evaluation, which is in the first entry, and without its outcome, which is
/// in the last entry.
///
/// Evaluation and outcome are thereby stored once, whatever their size, and a state change writes
/// little.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordRow {
    version: u32,
    pub(super) state: RecordState,
    pub(super) sequence: u64,
    head: Digest,
    #[serde(rename = "submitted_us")]
    pub(super) submitted_at: Timestamp,
    #[serde(rename = "updated_us")]
    updated_at: Timestamp,
    attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerId>,
    cancel_requested: bool,
    /// Whether the record has an outcome. No entry can follow the entry with the outcome.
    #[serde(rename = "outcome")]
    pub(super) has_outcome: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl RecordRow {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            version: record.version,
            state: record.state,
            sequence: record.sequence,
            head: record.head,
            submitted_at: record.submitted_at,
            updated_at: record.updated_at,
            attempt: record.attempt,
            worker: record.worker.clone(),
            cancel_requested: record.cancel_requested,
            has_outcome: record.outcome.is_some(),
            error: record.error.clone(),
            reason: record.reason.clone(),
        }
    }

    /// Returns the value for the row of an evaluation.
    pub(super) fn encode(&self, id: EvaluationId) -> Result<Bytes, StorageFailure> {
        write_with_checksum(&keys::row(id), ENCODED_BYTES, |value| {
            serde_json::to_writer(value, self)
        })
        .map_err(|error| corrupt(name(id), error))
    }

    /// Decodes the value of an evaluation's row.
    pub(super) fn decode(id: EvaluationId, value: &Bytes) -> Result<Self, StorageFailure> {
        let content = verify_checksum(&keys::row(id), value)
            .ok_or_else(|| corrupt(name(id), Corruption::Changed))?;
        serde_json::from_slice(&content).map_err(|error| corrupt(name(id), error))
    }

    /// Returns the record, built from the first entry, and from the last entry if there is an
    /// outcome. Returns `None` if the entries do not belong to this row.
    pub(super) fn into_record(self, first: &Event, last: Option<&Event>) -> Option<Record> {
        let mut record = Record::apply(None, first).ok()?;
        let outcome = match last.map(|last| &last.kind) {
            Some(
                EventKind::Finished { outcome }
                | EventKind::Cancelled { outcome: Some(outcome), .. },
            ) => Some(outcome.clone()),
            Some(_) => return None,
            None => None,
        };
        if outcome.is_some() != self.has_outcome || last.is_some_and(|last| last.hash != self.head)
        {
            return None;
        }
        record.version = self.version;
        record.state = self.state;
        record.sequence = self.sequence;
        record.head = self.head;
        record.submitted_at = self.submitted_at;
        record.updated_at = self.updated_at;
        record.attempt = self.attempt;
        record.worker = self.worker;
        record.cancel_requested = self.cancel_requested;
        record.outcome = outcome;
        record.error = self.error;
        record.reason = self.reason;
        Some(record)
    }
}

/// Returns the name of a row for errors.
pub(super) fn name(id: EvaluationId) -> String {
    format!("the record of evaluation {id}")
}
