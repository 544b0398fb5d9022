//! Records: the fold of an evaluation's journal.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind};
use super::record_state::RecordState;
use crate::model::{Digest, ErrorReport, Evaluation, EvaluationId, Timestamp, WorkerId};
use crate::result::{Outcome, Verdict, WIRE_VERSION};

/// The state of one evaluation. Only [`Record::apply`] creates it, from the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the wire form.
    pub version: u32,
    /// The evaluation's id.
    pub id: EvaluationId,
    /// The state.
    pub state: RecordState,
    /// The number of entries in the journal: the next `expected` of
    /// [`Storage::append`](crate::Storage::append).
    pub sequence: u64,
    /// The hash of the last entry.
    pub head: Digest,
    /// The time of the submission.
    #[serde(rename = "submitted_us")]
    pub submitted_at: Timestamp,
    /// The time of the last entry.
    #[serde(rename = "updated_us")]
    pub updated_at: Timestamp,
    /// The number of started attempts.
    pub attempt: u32,
    /// The worker, while the evaluation runs.
    pub worker: Option<WorkerId>,
    /// Whether a caller requested the cancellation.
    pub cancel_requested: bool,
    /// The outcome, after the evaluation ended with a verdict.
    pub outcome: Option<Arc<Outcome>>,
    /// The last infrastructure error.
    pub error: Option<ErrorReport>,
    /// The reason of the cancellation.
    pub reason: Option<String>,
    /// The evaluation.
    pub evaluation: Arc<Evaluation>,
}

/// An event that does not fit the state of the evaluation, or its position in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// The state does not allow the event.
    #[error("`{event}` cannot follow in state `{state}`")]
    State {
        /// The state; `absent` before the first event.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// The event belongs to another evaluation.
    #[error("the event belongs to evaluation {found}")]
    Evaluation {
        /// The evaluation of the event.
        found: EvaluationId,
    },
    /// The event is not the next one.
    #[error("the event has sequence {found}; expected {expected}")]
    Sequence {
        /// The next sequence.
        expected: u64,
        /// The event's sequence.
        found: u64,
    },
    /// The event does not contain the hash of the previous entry.
    #[error("the event with sequence {sequence} does not follow the previous entry")]
    Chain {
        /// The event's sequence.
        sequence: u64,
    },
    /// The event belongs to another attempt than the current or the next one.
    #[error("the event has attempt {found}; expected {expected}")]
    Attempt {
        /// The expected attempt.
        expected: u32,
        /// The attempt of the event.
        found: u32,
    },
    /// The outcome does not fit the event: the verdict `cancelled` belongs to `Cancelled`, each
    /// other verdict to `Finished`.
    #[error("a `{event}` event has an outcome with the verdict `{verdict}`")]
    Verdict {
        /// The event.
        event: &'static str,
        /// The outcome's verdict.
        verdict: &'static str,
    },
}

impl Record {
    /// Applies an event to a record. This function is the complete state machine:
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
    /// `CancelRequested` is also valid in `Queued`, and does not change that state either.
    ///
    /// # Errors
    /// Returns a [`TransitionError`] if the event does not fit.
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

    /// Returns the record that follows from a whole journal; `None` if there is no event.
    ///
    /// # Errors
    /// Returns the [`TransitionError`] of the first event that does not fit.
    pub fn fold<'a>(
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Option<Self>, TransitionError> {
        let mut record = None;
        for event in events {
            record = Some(Self::apply(record.as_ref(), event)?);
        }
        Ok(record)
    }

    /// Creates the next entry of this journal.
    #[must_use]
    pub fn next(&self, kind: EventKind) -> Event {
        // Time never goes backwards within a journal, even if the host's clock does.
        let time = Timestamp::now().max(self.updated_at);
        Event::sealed(self.id, self.sequence + 1, time, kind, self.head)
    }

    /// Returns `true` if this worker runs this attempt now.
    #[must_use]
    pub fn is_run_by(&self, worker: &WorkerId, attempt: u32) -> bool {
        self.state == RecordState::Running
            && self.attempt == attempt
            && self.worker.as_ref() == Some(worker)
    }

    /// Returns `true` if the evaluation was stored but never accepted, because the queue refused
    /// its ticket.
    ///
    /// No handle to a refused evaluation exists, no part of it runs, and its idempotency key is
    /// free. Its state is `Cancelled` without an outcome.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state == RecordState::Cancelled && self.attempt == 0 && self.outcome.is_none()
    }

    /// Creates the record of a journal's first event.
    fn begin(event: &Event) -> Result<Self, TransitionError> {
        let EventKind::Submitted { evaluation } = &event.kind else {
            return Err(TransitionError::State { state: "absent", event: event.kind.name() });
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

    /// Changes the state as the event requires.
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
                self.leave_worker(RecordState::Queued);
                self.error = Some(error.clone());
            }
            (RecordState::Running, EventKind::Requeued { attempt, .. }) => {
                self.check_attempt(self.attempt, *attempt)?;
                self.leave_worker(RecordState::Queued);
            }
            (RecordState::Queued | RecordState::Running, EventKind::CancelRequested) => {
                self.cancel_requested = true
            }
            (RecordState::Running, EventKind::Finished { outcome }) => {
                if *outcome.verdict() == Verdict::Cancelled {
                    return Err(verdict_error(event, outcome));
                }
                self.leave_worker(RecordState::Finished);
                self.outcome = Some(Arc::clone(outcome));
            }
            (RecordState::Queued | RecordState::Running, EventKind::Failed { error }) => {
                self.leave_worker(RecordState::Failed);
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
                self.leave_worker(RecordState::Cancelled);
                self.outcome.clone_from(outcome);
                self.reason = Some(reason.clone());
            }
            (RecordState::Queued, EventKind::Expired) => self.leave_worker(RecordState::Expired),
            (state, kind) => {
                return Err(TransitionError::State { state: state.name(), event: kind.name() });
            }
        }
        Ok(())
    }

    /// Moves to a state without a worker.
    fn leave_worker(&mut self, state: RecordState) {
        self.state = state;
        self.worker = None;
    }

    /// Checks the attempt of an event.
    fn check_attempt(&self, expected: u32, found: u32) -> Result<(), TransitionError> {
        if expected == found { Ok(()) } else { Err(TransitionError::Attempt { expected, found }) }
    }
}

/// Returns the error of an outcome that does not fit its event.
fn verdict_error(event: &Event, outcome: &Outcome) -> TransitionError {
    TransitionError::Verdict { event: event.kind.name(), verdict: outcome.verdict().kind() }
}
