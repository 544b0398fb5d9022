//! The state of an evaluation: the fold of its journal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind};
use crate::model::{Digest, ErrorReport, Evaluation, EvaluationId, Timestamp, WorkerId};
use crate::result::{Outcome, Verdict, WIRE_VERSION};

/// Where an evaluation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordState {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It came to a verdict, whichever.
    Finished,
    /// The infrastructure gave up: a dead letter.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Nobody took it in time.
    Expired,
}

impl RecordState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Finished, Self::Failed, Self::Cancelled, Self::Expired];

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text does not name a [`RecordState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a state; states are queued, running, finished, failed, cancelled, expired"
)]
pub struct ParseRecordStateError {
    text: String,
}

impl FromStr for RecordState {
    type Err = ParseRecordStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| ParseRecordStateError { text: text.chars().take(32).collect() })
    }
}

/// The state of one evaluation, made from its journal by [`Record::apply`] and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the wire form.
    pub version: u32,
    /// The evaluation's id.
    pub id: EvaluationId,
    /// Where it stands.
    pub state: RecordState,
    /// How many entries its journal has: what [`Storage::append`](crate::Storage::append) expects next.
    pub sequence: u64,
    /// The hash of the last entry.
    pub head: Digest,
    /// When it was submitted.
    #[serde(rename = "submitted_us")]
    pub submitted_at: Timestamp,
    /// When the last entry was written.
    #[serde(rename = "updated_us")]
    pub updated_at: Timestamp,
    /// How many attempts were started.
    pub attempt: u32,
    /// Who runs it, while it runs.
    pub worker: Option<WorkerId>,
    /// Whether somebody asked to cancel it.
    pub cancel_requested: bool,
    /// What came of it, once it has ended in a verdict.
    pub outcome: Option<Arc<Outcome>>,
    /// The last infrastructure error.
    pub error: Option<ErrorReport>,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// What is to be run.
    pub evaluation: Arc<Evaluation>,
}

/// An event does not fit the state of the evaluation, or its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// The state does not allow the event.
    #[error("`{event}` cannot follow in state `{state}`")]
    RecordState {
        /// The state; `absent` before the first event.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// The event is of another evaluation.
    #[error("the event belongs to evaluation {found}")]
    Evaluation {
        /// Whose event it is.
        found: EvaluationId,
    },
    /// The event is not the next one.
    #[error("the event has sequence {found} where {expected} is next")]
    Sequence {
        /// The next sequence.
        expected: u64,
        /// The event's sequence.
        found: u64,
    },
    /// The event does not name the hash of the one before it.
    #[error("the event with sequence {sequence} does not follow the entry before it")]
    Chain {
        /// The event's sequence.
        sequence: u64,
    },
    /// The attempt is not the one that is running, or not the next one.
    #[error("the event speaks of attempt {found} where {expected} is due")]
    Attempt {
        /// The attempt that is due.
        expected: u32,
        /// The attempt of the event.
        found: u32,
    },
    /// An outcome with the verdict `cancelled` belongs into `Cancelled`, any other into `Finished`.
    #[error("a `{event}` event has an outcome with the verdict `{verdict}`")]
    Verdict {
        /// The event.
        event: &'static str,
        /// The outcome's verdict.
        verdict: &'static str,
    },
}

impl Record {
    /// The whole state machine: the record after `event`, given the record before it.
    ///
    /// ```text
    ///              ┌───────── AttemptFailed, Requeued ─────────┐
    ///              ▼                                           │
    /// Submitted ▶ Queued ── Started ──▶ Running ── Finished ──▶ Finished
    ///              │ │ └─ Failed ─┐        │ ├─ Failed ───────▶ Failed
    ///              │ └─ Expired ▶ Expired  │ └─ CancelRequested ▶ Running
    ///              └─── Cancelled ─────────┴─ Cancelled ──────▶ Cancelled
    /// ```
    ///
    /// `CancelRequested` may also come in `Queued`, and changes no state there either.
    ///
    /// # Errors
    /// [`TransitionError`] if the event does not fit.
    pub fn apply(current: Option<&Self>, event: &Event) -> Result<Self, TransitionError> {
        let Some(current) = current else { return Self::begin(event) };
        if event.evaluation != current.id {
            return Err(TransitionError::Evaluation { found: event.evaluation });
        }
        if event.sequence != current.sequence + 1 {
            return Err(TransitionError::Sequence {
                expected: current.sequence + 1,
                found: event.sequence,
            });
        }
        if event.previous != current.head {
            return Err(TransitionError::Chain { sequence: event.sequence });
        }
        let mut next = current.clone();
        next.sequence = event.sequence;
        next.head = event.hash;
        next.updated_at = event.time;
        next.step(event)?;
        Ok(next)
    }

    /// The record after all of `events`, from the first.
    ///
    /// # Errors
    /// [`TransitionError`] of the first event that does not fit; `None` if there is no event.
    pub fn fold<'a>(
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Option<Self>, TransitionError> {
        let mut record = None;
        for event in events {
            record = Some(Self::apply(record.as_ref(), event)?);
        }
        Ok(record)
    }

    /// The event that comes next in this journal, sealed.
    #[must_use]
    pub fn next(&self, kind: EventKind) -> Event {
        // Time never runs backwards within a journal, even if the host's clock does.
        let time = Timestamp::now().max(self.updated_at);
        Event::sealed(self.id, self.sequence + 1, time, kind, self.head)
    }

    /// Whether this attempt of this worker is the one that is running.
    #[must_use]
    pub fn is_run_by(&self, worker: &WorkerId, attempt: u32) -> bool {
        self.state == RecordState::Running
            && self.attempt == attempt
            && self.worker.as_ref() == Some(worker)
    }

    /// Whether it was stored and then not queued, so that it was never accepted: nobody has a handle on it, nothing of
    /// it has run or will, and its idempotency key is free again. It is `Cancelled` without an outcome.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state == RecordState::Cancelled && self.attempt == 0 && self.outcome.is_none()
    }

    fn begin(event: &Event) -> Result<Self, TransitionError> {
        let EventKind::Submitted { evaluation } = &event.kind else {
            return Err(TransitionError::RecordState { state: "absent", event: event.kind.name() });
        };
        if event.sequence != 1 {
            return Err(TransitionError::Sequence { expected: 1, found: event.sequence });
        }
        if event.previous != Digest::ZERO {
            return Err(TransitionError::Chain { sequence: 1 });
        }
        Ok(Self {
            version: WIRE_VERSION,
            id: event.evaluation,
            state: RecordState::Queued,
            sequence: 1,
            head: event.hash,
            submitted_at: event.time,
            updated_at: event.time,
            attempt: 0,
            worker: None,
            cancel_requested: false,
            outcome: None,
            error: None,
            reason: None,
            evaluation: Arc::clone(evaluation),
        })
    }

    fn step(&mut self, event: &Event) -> Result<(), TransitionError> {
        match (self.state, &event.kind) {
            (RecordState::Queued, EventKind::Started { attempt, worker, .. }) => {
                self.check_attempt(self.attempt + 1, *attempt)?;
                self.state = RecordState::Running;
                self.attempt = *attempt;
                self.worker = Some(worker.clone());
            }
            (RecordState::Running, EventKind::AttemptFailed { attempt, error, .. }) => {
                self.check_attempt(self.attempt, *attempt)?;
                self.leave(RecordState::Queued);
                self.error = Some(error.clone());
            }
            (RecordState::Running, EventKind::Requeued { attempt, .. }) => {
                self.check_attempt(self.attempt, *attempt)?;
                self.leave(RecordState::Queued);
            }
            (RecordState::Queued | RecordState::Running, EventKind::CancelRequested) => {
                self.cancel_requested = true
            }
            (RecordState::Running, EventKind::Finished { outcome }) => {
                if *outcome.verdict() == Verdict::Cancelled {
                    return Err(verdict_error(event, outcome));
                }
                self.leave(RecordState::Finished);
                self.outcome = Some(Arc::clone(outcome));
            }
            (RecordState::Queued | RecordState::Running, EventKind::Failed { error }) => {
                self.leave(RecordState::Failed);
                self.error = Some(error.clone());
            }
            (
                RecordState::Queued | RecordState::Running,
                EventKind::Cancelled { reason, outcome },
            ) => {
                if let Some(outcome) = outcome
                    && *outcome.verdict() != Verdict::Cancelled
                {
                    return Err(verdict_error(event, outcome));
                }
                self.leave(RecordState::Cancelled);
                self.outcome.clone_from(outcome);
                self.reason = Some(reason.clone());
            }
            (RecordState::Queued, EventKind::Expired) => self.leave(RecordState::Expired),
            (state, kind) => {
                return Err(TransitionError::RecordState {
                    state: state.name(),
                    event: kind.name(),
                });
            }
        }
        Ok(())
    }

    fn leave(&mut self, state: RecordState) {
        self.state = state;
        self.worker = None;
    }

    fn check_attempt(&self, expected: u32, found: u32) -> Result<(), TransitionError> {
        if expected == found { Ok(()) } else { Err(TransitionError::Attempt { expected, found }) }
    }
}

fn verdict_error(event: &Event, outcome: &Outcome) -> TransitionError {
    TransitionError::Verdict { event: event.kind.name(), verdict: outcome.verdict().kind() }
}
