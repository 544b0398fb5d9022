//! A model test: the record's state machine agrees with a table for arbitrary sequences of events.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test may panic like the test itself"
)]

#[path = "support/test_events.rs"]
mod test_events;

use crucible_core::{Digest, EvaluationId, Event, Record, RecordState, Timestamp, TransitionError};
use proptest::prelude::*;

use crate::test_events::{TestEvent, test_event};

/// A flaw of an event in addition to its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Sequence(u64),
    Chain,
    Foreign,
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        30 => Just(Flaw::None),
        1 => (0..4_u64).prop_map(Flaw::Sequence),
        1 => Just(Flaw::Chain),
        1 => Just(Flaw::Foreign),
    ]
}

/// The model: the next state; `None` if the event does not fit. `attempt` is the number of started
/// attempts.
fn follows(state: Option<RecordState>, attempt: u32, kind: TestEvent) -> Option<RecordState> {
    use RecordState::{Cancelled, Expired, Failed, Finished, Queued, Running};
    let next = match (state, kind) {
        (None, TestEvent::Submitted) => Queued,
        (Some(Queued), TestEvent::Started { attempt: claimed }) if claimed == attempt + 1 => {
            Running
        }
        (
            Some(Running),
            TestEvent::AttemptFailed { attempt: claimed }
            | TestEvent::Requeued { attempt: claimed },
        ) if claimed == attempt => Queued,
        (Some(same @ (Queued | Running)), TestEvent::CancelRequested) => same,
        (Some(Running), TestEvent::Finished { cancelled: false }) => Finished,
        (Some(Queued | Running), TestEvent::Failed) => Failed,
        (Some(Queued | Running), TestEvent::Cancelled { outcome: None | Some(true) }) => Cancelled,
        (Some(Queued), TestEvent::Expired) => Expired,
        _ => return None,
    };
    Some(next)
}

/// Checks the invariants of a record.
fn check_invariants(record: &Record, entries: &[Event]) {
    let kinds = |name: &str| entries.iter().filter(|event| event.kind.name() == name).count();
    let last = entries.last().unwrap();
    assert_eq!(record.sequence, entries.len() as u64);
    assert_eq!((record.head, record.updated_at), (last.hash, last.time));
    assert_eq!(record.submitted_at, entries[0].time);
    assert_eq!(record.attempt as usize, kinds("started"));
    assert_eq!(record.worker.is_some(), record.state == RecordState::Running);
    assert_eq!(record.cancel_requested, kinds("cancel_requested") > 0);
    assert_eq!(record.error.is_some(), kinds("attempt_failed") + kinds("failed") > 0);
    assert_eq!(record.reason.is_some(), record.state == RecordState::Cancelled);
    assert_eq!(record.state.is_terminal(), last.kind.is_terminal());
    match record.state {
        RecordState::Finished => {
            assert_eq!(record.outcome.as_ref().unwrap().verdict().kind(), "exited")
        }
        RecordState::Cancelled => {
            assert!(
                record
                    .outcome
                    .as_ref()
                    .is_none_or(|outcome| outcome.verdict().kind() == "cancelled")
            );
        }
        _ => assert_eq!(record.outcome, None),
    }
    let refused =
        record.state == RecordState::Cancelled && record.attempt == 0 && record.outcome.is_none();
    assert_eq!(record.is_refused(), refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn record_follows_the_model(
        first in proptest::bool::weighted(0.95),
        drawn in proptest::collection::vec((test_event(), flaw()), 0..60),
    ) {
        let (id, another) = (EvaluationId::new(), EvaluationId::new());
        let mut entries: Vec<Event> = Vec::new();
        let mut record: Option<Record> = None;
        let begin = first.then_some((TestEvent::Submitted, Flaw::None));
        for (number, (kind, flaw)) in begin.into_iter().chain(drawn).enumerate() {
            let sequence = match flaw {
                Flaw::Sequence(sequence) => sequence,
                _ => entries.len() as u64 + 1,
            };
            let head = record.as_ref().map_or(Digest::ZERO, |record| record.head);
            let previous = if flaw == Flaw::Chain { Digest::of(b"another") } else { head };
            let of = if flaw == Flaw::Foreign { another } else { id };
            let time = Timestamp::from_micros(number as u64);
            let event = Event::sealed(of, sequence, time, kind.event_kind(), previous);
            let is_placed_well = sequence == entries.len() as u64 + 1
                && flaw != Flaw::Chain
                // The first entry sets the journal's evaluation.
                && (flaw != Flaw::Foreign || record.is_none());
            let state = record.as_ref().map(|record| record.state);
            let attempt = record.as_ref().map_or(0, |record| record.attempt);
            let expected = follows(state, attempt, kind).filter(|_| is_placed_well);
            match (Record::apply(record.as_ref(), &event), expected) {
                (Ok(next), Some(expected)) => {
                    prop_assert_eq!(next.state, expected);
                    prop_assert_eq!(next.id, record.as_ref().map_or(of, |record| record.id));
                    entries.push(event);
                    check_invariants(&next, &entries);
                    record = Some(next);
                }
                (Err(_), None) => {}
                (answer, expected) => prop_assert!(
                    false,
                    "{kind:?} with {flaw:?} in {state:?}, attempt {attempt}: {answer:?}, expected {expected:?}"
                ),
            }
            if record.as_ref().is_some_and(|record| record.id == another) {
                // The journal of the other evaluation needs no further events.
                break;
            }
        }
        prop_assert_eq!(Record::fold(&entries).unwrap(), record);
    }

    #[test]
    fn terminal_state_accepts_no_event(end in 0..5_usize, kind in test_event()) {
        let id = EvaluationId::new();
        let ends = [
            vec![TestEvent::Started { attempt: 1 }, TestEvent::Finished { cancelled: false }],
            vec![TestEvent::Failed],
            vec![TestEvent::Cancelled { outcome: Some(true) }],
            vec![TestEvent::Cancelled { outcome: None }],
            vec![TestEvent::Expired],
        ];
        let time = Timestamp::from_micros(0);
        let submitted =
            Event::sealed(id, 1, time, TestEvent::Submitted.event_kind(), Digest::ZERO);
        let mut record = Record::apply(None, &submitted).unwrap();
        for kind in &ends[end] {
            record = Record::apply(Some(&record), &record.next(kind.event_kind())).unwrap();
        }
        prop_assert!(record.state.is_terminal());
        let refused = Record::apply(Some(&record), &record.next(kind.event_kind()));
        prop_assert!(matches!(refused, Err(TransitionError::State { .. })), "{:?}", refused);
    }
}
