//! The state machine against a plain table of it: no sequence of events leads anywhere else.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

#[path = "support/kinds.rs"]
mod kinds;

use crucible_core::{Digest, EvaluationId, Event, Record, RecordState, Timestamp, TransitionError};
use proptest::prelude::*;

use crate::kinds::{Kind, kind};

/// What is wrong with an event beside its kind: mostly nothing.
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

/// The table: the state that follows, `None` where the event does not fit. `attempt` is how many were started.
fn follows(state: Option<RecordState>, attempt: u32, kind: Kind) -> Option<RecordState> {
    use RecordState::{Cancelled, Expired, Failed, Finished, Queued, Running};
    let next = match (state, kind) {
        (None, Kind::Submitted) => Queued,
        (Some(Queued), Kind::Started { attempt: said }) if said == attempt + 1 => Running,
        (
            Some(Running),
            Kind::AttemptFailed { attempt: said } | Kind::Requeued { attempt: said },
        ) if said == attempt => Queued,
        (Some(same @ (Queued | Running)), Kind::CancelRequested) => same,
        (Some(Running), Kind::Finished { cancelled: false }) => Finished,
        (Some(Queued | Running), Kind::Failed) => Failed,
        (Some(Queued | Running), Kind::Cancelled { outcome: None | Some(true) }) => Cancelled,
        (Some(Queued), Kind::Expired) => Expired,
        _ => return None,
    };
    Some(next)
}

/// What is true of every record that can be.
fn check(record: &Record, entries: &[Event]) {
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
    let unaccepted =
        record.state == RecordState::Cancelled && record.attempt == 0 && record.outcome.is_none();
    assert_eq!(record.is_refused(), unaccepted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_record_goes_where_the_table_says_and_nowhere_else(
        first in proptest::bool::weighted(0.95),
        drawn in proptest::collection::vec((kind(), flaw()), 0..60),
    ) {
        let (id, another) = (EvaluationId::new(), EvaluationId::new());
        let mut entries: Vec<Event> = Vec::new();
        let mut record: Option<Record> = None;
        let begin = first.then_some((Kind::Submitted, Flaw::None));
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
                // The first entry says whose journal it is.
                && (flaw != Flaw::Foreign || record.is_none());
            let state = record.as_ref().map(|record| record.state);
            let attempt = record.as_ref().map_or(0, |record| record.attempt);
            let expected = follows(state, attempt, kind).filter(|_| is_placed_well);
            match (Record::apply(record.as_ref(), &event), expected) {
                (Ok(next), Some(expected)) => {
                    prop_assert_eq!(next.state, expected);
                    prop_assert_eq!(next.id, record.as_ref().map_or(of, |record| record.id));
                    entries.push(event);
                    check(&next, &entries);
                    record = Some(next);
                }
                (Err(_), None) => {}
                (answer, expected) => prop_assert!(
                    false,
                    "{kind:?} with {flaw:?} in {state:?} after {attempt} attempts: {answer:?}, expected {expected:?}"
                ),
            }
            if record.as_ref().is_some_and(|record| record.id == another) {
                // A journal that began as another's goes on as another's; enough was seen of it.
                break;
            }
        }
        prop_assert_eq!(Record::fold(&entries).unwrap(), record);
    }

    #[test]
    fn a_terminal_state_takes_nothing(end in 0..5_usize, kind in kind()) {
        let id = EvaluationId::new();
        let ends = [
            vec![Kind::Started { attempt: 1 }, Kind::Finished { cancelled: false }],
            vec![Kind::Failed],
            vec![Kind::Cancelled { outcome: Some(true) }],
            vec![Kind::Cancelled { outcome: None }],
            vec![Kind::Expired],
        ];
        let submitted =
            Event::sealed(id, 1, Timestamp::from_micros(0), Kind::Submitted.event_kind(), Digest::ZERO);
        let mut record = Record::apply(None, &submitted).unwrap();
        for kind in &ends[end] {
            record = Record::apply(Some(&record), &record.next(kind.event_kind())).unwrap();
        }
        prop_assert!(record.state.is_terminal());
        let refused = Record::apply(Some(&record), &record.next(kind.event_kind()));
        prop_assert!(matches!(refused, Err(TransitionError::State { .. })), "{:?}", refused);
    }
}
