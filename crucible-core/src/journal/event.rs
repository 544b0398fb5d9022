//! Events: journal entries, and signals that are never in a journal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::canonical::canonical_digest;
use crate::model::{
    Digest, ErrorReport, Evaluation, EvaluationId, Timestamp, WorkerId, duration_us, wire_bytes,
};
use crate::result::{Outcome, OutputStream, WIRE_VERSION};

/// The reason why a running evaluation returned to the queue without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequeueReason {
    /// The lease expired, because the worker died or lost its connection.
    LeaseExpired,
    /// The worker shut down.
    Shutdown,
}

/// The kind of an event, with its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The evaluation was accepted.
    Submitted {
        /// The evaluation.
        evaluation: Arc<Evaluation>,
    },
    /// A worker started an attempt.
    Started {
        /// The attempt, counted from 1.
        attempt: u32,
        /// The worker.
        worker: WorkerId,
        /// The name of the engine in the platform.
        engine: String,
    },
    /// The attempt failed because of the infrastructure, and another attempt follows.
    AttemptFailed {
        /// The failed attempt.
        attempt: u32,
        /// The error.
        error: ErrorReport,
        /// The pause before the next attempt.
        #[serde(rename = "retry_in_us", with = "duration_us")]
        retry_in: Duration,
    },
    /// The evaluation returned to the queue without an error.
    Requeued {
        /// The abandoned attempt.
        attempt: u32,
        /// The reason.
        reason: RequeueReason,
    },
    /// A caller requested the cancellation of a running evaluation.
    CancelRequested,
    /// The run ended with a verdict.
    Finished {
        /// The outcome.
        outcome: Arc<Outcome>,
    },
    /// All attempts failed because of the infrastructure: a dead letter.
    Failed {
        /// The last error.
        error: ErrorReport,
    },
    /// The evaluation was cancelled.
    Cancelled {
        /// The reason.
        reason: String,
        /// The outcome; `None` if the queue refused the ticket, so that the evaluation was never
        /// accepted.
        outcome: Option<Arc<Outcome>>,
    },
    /// No worker started the evaluation in time.
    Expired,
    /// The program wrote output. This is a signal: on the bus, never in a journal.
    Output {
        /// The stream.
        stream: OutputStream,
        /// The position of the first byte in the stream.
        offset: u64,
        /// The bytes.
        #[serde(with = "wire_bytes", rename = "data")]
        bytes: Bytes,
    },
}

impl EventKind {
    /// Returns `true` for a signal. The bus carries signals, and no journal contains them.
    #[must_use]
    pub fn is_signal(&self) -> bool {
        matches!(self, Self::Output { .. })
    }

    /// The wire names of the terminal kinds.
    pub const TERMINAL: [&'static str; 4] = ["finished", "failed", "cancelled", "expired"];

    /// Returns `true` if no event can follow this one.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Finished { .. } | Self::Failed { .. } | Self::Cancelled { .. } | Self::Expired
        )
    }

    /// Returns the blobs that the event refers to, one for each artifact.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let outcome = match self {
            Self::Finished { outcome } | Self::Cancelled { outcome: Some(outcome), .. } => {
                Some(outcome)
            }
            _ => None,
        };
        outcome.into_iter().flat_map(|outcome| &outcome.artifacts).map(|artifact| artifact.sha256)
    }

    /// Returns the wire name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::Started { .. } => "started",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::Requeued { .. } => "requeued",
            Self::CancelRequested => "cancel_requested",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired => "expired",
            Self::Output { .. } => "output",
        }
    }
}

/// An entry of an evaluation's journal, or a signal between two entries.
///
/// Entries form a hash chain: each entry contains the hash of the previous one, and its own hash
/// covers all its content. The hash is SHA-256 over the entry's wire form without `hash`, as JSON
/// without white space and with sorted members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The version of the wire form.
    pub version: u32,
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The position in the journal, from 1. For a signal, the position of the entry before it.
    pub sequence: u64,
    /// The time of the event, by the clock of the host that wrote it.
    #[serde(rename = "time_us")]
    pub time: Timestamp,
    /// The kind of the event, with its data.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// The hash of the previous entry; [`Digest::ZERO`] in the first.
    pub previous: Digest,
    /// The hash of this entry; [`Digest::ZERO`] in a signal.
    pub hash: Digest,
}

/// The content that an entry's hash covers: the entry without the hash.
#[derive(Serialize)]
struct HashedContent<'a> {
    version: u32,
    evaluation: EvaluationId,
    sequence: u64,
    #[serde(rename = "time_us")]
    time: Timestamp,
    #[serde(rename = "event")]
    kind: &'a EventKind,
    previous: Digest,
}

impl Event {
    /// Creates the entry that follows the one with the hash `previous`, and computes its hash.
    #[must_use]
    pub fn sealed(
        evaluation: EvaluationId,
        sequence: u64,
        time: Timestamp,
        kind: EventKind,
        previous: Digest,
    ) -> Self {
        let mut event = Self {
            version: WIRE_VERSION,
            evaluation,
            sequence,
            time,
            kind,
            previous,
            hash: Digest::ZERO,
        };
        event.hash = event.computed_hash();
        event
    }

    /// Creates a signal that follows the entry at `sequence`.
    #[must_use]
    pub fn signal(evaluation: EvaluationId, sequence: u64, kind: EventKind) -> Self {
        Self {
            version: WIRE_VERSION,
            evaluation,
            sequence,
            time: Timestamp::now(),
            kind,
            previous: Digest::ZERO,
            hash: Digest::ZERO,
        }
    }

    /// Computes the hash that this entry must have.
    #[must_use]
    pub fn computed_hash(&self) -> Digest {
        let content = HashedContent {
            version: self.version,
            evaluation: self.evaluation,
            sequence: self.sequence,
            time: self.time,
            kind: &self.kind,
            previous: self.previous,
        };
        // Serialization cannot fail: all map keys are text, and no type has a failing serializer.
        canonical_digest(&content).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::canonical::canonical_json;

    #[test]
    fn hash_is_recomputable_from_json_text() {
        let kind =
            EventKind::Started { attempt: 1, worker: WorkerId::new("w"), engine: "e".into() };
        let event = Event::sealed(
            EvaluationId::new(),
            2,
            Timestamp::from_micros(5),
            kind,
            Digest::of(b"before"),
        );
        let mut value: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        let stated = value.as_object_mut().unwrap().remove("hash").unwrap();
        let recomputed = Digest::of(&canonical_json(&value).unwrap());
        assert_eq!(stated, recomputed.to_string());
    }

    #[test]
    fn entry_round_trips_with_same_hash() {
        let evaluation =
            Arc::new(Evaluation::python("print(1)").with_env("T", crate::Secret::new("x")));
        let kind = EventKind::Submitted { evaluation };
        let event = Event::sealed(EvaluationId::new(), 1, Timestamp::now(), kind, Digest::ZERO);
        let read: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(read.hash, event.hash);
        assert_eq!(read.computed_hash(), event.hash);
    }

    #[test]
    fn terminal_kinds_match_the_list() {
        let error = crate::ErrorReport::new("lost", "gone");
        let outcome = crate::Outcome::new("fake", Vec::new());
        let kinds = [
            EventKind::Submitted { evaluation: crate::Evaluation::shell("true").into() },
            EventKind::Started {
                attempt: 1,
                worker: crate::WorkerId::new("w"),
                engine: "e".to_owned(),
            },
            EventKind::CancelRequested,
            EventKind::Finished { outcome: outcome.into() },
            EventKind::Failed { error },
            EventKind::Cancelled { reason: "on request".to_owned(), outcome: None },
            EventKind::Expired,
        ];
        for kind in kinds {
            assert_eq!(
                kind.is_terminal(),
                EventKind::TERMINAL.contains(&kind.name()),
                "{}",
                kind.name()
            );
        }
    }
}
