//! Events: the entries of an evaluation's journal, and the signals between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::canonical::canonical_digest;
use crate::model::{
    Digest, ErrorReport, Evaluation, EvaluationId, Timestamp, WorkerId, duration_us, wire_bytes,
};
use crate::result::{Outcome, OutputStream, WIRE_VERSION};

/// Why a running evaluation went back to the queue without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequeueReason {
    /// Its worker did not renew its lease: it died, or was cut off.
    LeaseExpired,
    /// Its worker stopped on purpose.
    Shutdown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// It was accepted.
    Submitted {
        /// What is to be run.
        evaluation: Arc<Evaluation>,
    },
    /// A worker took it.
    Started {
        /// The attempt, counted from 1.
        attempt: u32,
        /// The worker.
        worker: WorkerId,
        /// The name of the engine, as the platform knows it.
        engine: String,
    },
    /// The infrastructure failed, and it will be tried again.
    AttemptFailed {
        /// The attempt that failed.
        attempt: u32,
        /// What failed.
        error: ErrorReport,
        /// The pause before the next attempt.
        #[serde(rename = "retry_in_us", with = "duration_us")]
        retry_in: Duration,
    },
    /// It went back to the queue without an error.
    Requeued {
        /// The attempt that was given up.
        attempt: u32,
        /// Why.
        reason: RequeueReason,
    },
    /// Somebody asked to cancel it while it ran.
    CancelRequested,
    /// It came to a verdict.
    Finished {
        /// The outcome.
        outcome: Arc<Outcome>,
    },
    /// The infrastructure gave up: a dead letter.
    Failed {
        /// Why.
        error: ErrorReport,
    },
    /// It was cancelled.
    Cancelled {
        /// Why: who asked, or what stood in the way.
        reason: String,
        /// What is known; `None` if the queue did not take it, so that it was never accepted.
        outcome: Option<Arc<Outcome>>,
    },
    /// Nobody took it in time.
    Expired,
    /// Output came. A signal: on the bus, never in a journal.
    Output {
        /// The stream it was written to.
        stream: OutputStream,
        /// How many bytes of the stream came before it.
        offset: u64,
        /// The bytes.
        #[serde(with = "wire_bytes", rename = "data")]
        bytes: Bytes,
    },
}

impl EventKind {
    /// Whether this is a signal: passed on by the bus, never kept in a journal.
    #[must_use]
    pub fn is_signal(&self) -> bool {
        matches!(self, Self::Output { .. })
    }

    /// The wire names of the kinds that nothing can follow.
    pub const TERMINAL: [&'static str; 4] = ["finished", "failed", "cancelled", "expired"];

    /// Whether nothing can follow this event.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Finished { .. } | Self::Failed { .. } | Self::Cancelled { .. } | Self::Expired
        )
    }

    /// The blobs that it names, one for each artifact.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let outcome = match self {
            Self::Finished { outcome } | Self::Cancelled { outcome: Some(outcome), .. } => {
                Some(outcome)
            }
            _ => None,
        };
        outcome.into_iter().flat_map(|outcome| &outcome.artifacts).map(|artifact| artifact.sha256)
    }

    /// The wire name of the kind.
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

/// One entry of an evaluation's journal, or a signal between two entries.
///
/// Entries form a hash chain: each names the hash of the one before it, and its own hash covers everything in it. The
/// hash is SHA-256 over the entry's wire form without `hash`, as JSON without white space and with sorted members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The version of the wire form.
    pub version: u32,
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The place in the journal, from 1. For a signal, the place of the entry that it follows.
    pub sequence: u64,
    /// When it happened, by the clock of the host that wrote it.
    #[serde(rename = "time_us")]
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// The hash of the entry before; [`Digest::ZERO`] in the first.
    pub previous: Digest,
    /// The hash of this entry; [`Digest::ZERO`] in a signal.
    pub hash: Digest,
}

/// What an entry's hash covers: all of the entry but the hash itself.
#[derive(Serialize)]
struct Hashed<'a> {
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
    /// The entry that follows the one with `previous` as its hash, sealed with a hash of its own.
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

    /// A signal that follows the entry at `sequence`.
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

    /// The hash that this entry must have.
    #[must_use]
    pub fn computed_hash(&self) -> Digest {
        let hashed = Hashed {
            version: self.version,
            evaluation: self.evaluation,
            sequence: self.sequence,
            time: self.time,
            kind: &self.kind,
            previous: self.previous,
        };
        // Every type beneath serialises without fail (no map with other keys than text, no failing serialiser); an
        // entry that could not be serialised could not be stored either.
        canonical_digest(&hashed).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::canonical::canonical_json;

    #[test]
    fn the_hash_can_be_recomputed_from_the_text_alone() {
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
    fn an_entry_survives_the_wire_and_keeps_its_hash() {
        let evaluation =
            Arc::new(Evaluation::python("print(1)").with_env("T", crate::Secret::new("x")));
        let kind = EventKind::Submitted { evaluation };
        let event = Event::sealed(EvaluationId::new(), 1, Timestamp::now(), kind, Digest::ZERO);
        let read: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(read.hash, event.hash);
        assert_eq!(read.computed_hash(), event.hash);
    }

    #[test]
    fn the_terminal_kinds_are_those_of_the_list() {
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
