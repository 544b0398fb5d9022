//! A record as it is kept: without what the entries of its journal have.

use bytes::Bytes;
use crucible_core::{
    Digest, ErrorReport, Event, EventKind, Record, RecordState, Timestamp, WorkerId,
};
use crucible_kv::seal_written;
use serde::{Deserialize, Serialize};

/// What most rows have room in.
const ROOM: usize = 512;

/// A record without its evaluation, which the first entry has, and its outcome, which the last entry has. So both are stored
/// once, however large, and a step in an evaluation's life writes little.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
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
    /// Whether there is an outcome. Nothing can follow the entry that has it.
    pub(super) outcome: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Row {
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
            outcome: record.outcome.is_some(),
            error: record.error.clone(),
            reason: record.reason.clone(),
        }
    }

    /// The value that is kept at a key.
    pub(super) fn encode(&self, key: &[u8]) -> Result<Bytes, serde_json::Error> {
        seal_written(key, ROOM, |value| serde_json::to_writer(value, self))
    }

    /// The record, given the first entry, and the last one if there is an outcome. `None` if these are not the entries that
    /// this row belongs to.
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
        if outcome.is_some() != self.outcome || last.is_some_and(|last| last.hash != self.head) {
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
