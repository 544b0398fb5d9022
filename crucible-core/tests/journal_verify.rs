//! Verification detects each kind of change to a journal.

#![expect(clippy::unwrap_used, reason = "helpers of a test may panic like the test itself")]

#[path = "support/test_events.rs"]
mod test_events;

use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Record, Timestamp, VerifyError, verify, verify_against,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::test_events::{TestEvent, test_event};

/// Generates valid journals: each generated event is appended if it fits.
fn journal() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(test_event(), 0..40).prop_map(|drawn| {
        let id = EvaluationId::new();
        let submitted = Event::sealed(
            id,
            1,
            Timestamp::from_micros(1),
            TestEvent::Submitted.event_kind(),
            Digest::ZERO,
        );
        let mut record = Record::apply(None, &submitted).unwrap();
        let mut events = vec![submitted];
        for kind in drawn {
            let time = Timestamp::from_micros(record.sequence + 1);
            // The expected attempt replaces the generated one, so that journals become longer.
            let kind = match kind {
                TestEvent::Started { .. } => TestEvent::Started { attempt: record.attempt + 1 },
                TestEvent::Requeued { .. } => TestEvent::Requeued { attempt: record.attempt },
                TestEvent::AttemptFailed { .. } => {
                    TestEvent::AttemptFailed { attempt: record.attempt }
                }
                other => other,
            };
            let event =
                Event::sealed(id, record.sequence + 1, time, kind.event_kind(), record.head);
            if let Ok(next) = Record::apply(Some(&record), &event) {
                record = next;
                events.push(event);
            }
        }
        events
    })
}

/// Returns the sequence number of a misplaced entry.
fn misplaced_sequence(error: &VerifyError) -> Option<u64> {
    match error {
        VerifyError::Misplaced { sequence, .. } => Some(*sequence),
        _ => None,
    }
}

fn head(journal: &[Event]) -> Digest {
    journal.last().unwrap().hash
}

/// Collects the JSON pointers of all scalars in a value.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves(
                    member,
                    &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}/{index}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

fn edit(leaf: &mut Value) {
    *leaf = match leaf {
        Value::Null => Value::from("something"),
        Value::Bool(value) => Value::from(!*value),
        Value::Number(number) => Value::from(number.as_u64().unwrap_or_default() + 1),
        Value::String(text) => match text.pop() {
            // The digit of a hash stays a digit, so that deserialization succeeds.
            Some('0') => Value::from(format!("{text}1")),
            Some(last) if last.is_ascii_hexdigit() => Value::from(format!("{text}0")),
            _ => Value::from(format!("{text}x")),
        },
        Value::Array(_) | Value::Object(_) => Value::Null,
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn unmodified_journal_is_valid_after_round_trip(journal in journal()) {
        let record = verify_against(&journal, head(&journal)).unwrap();
        prop_assert_eq!(&record, &Record::fold(&journal).unwrap());
        let text = serde_json::to_string(&journal).unwrap();
        let read: Vec<Event> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &journal);
        prop_assert_eq!(verify_against(&read, head(&journal)).unwrap(), record);
    }

    #[test]
    fn edit_of_any_field_is_detected(
        journal in journal(),
        which in any::<Index>(),
        leaf in any::<Index>(),
    ) {
        let at = which.index(journal.len());
        let mut text = serde_json::to_value(&journal).unwrap();
        let mut paths = Vec::new();
        leaves(&text[at], &format!("/{at}"), &mut paths);
        let path = &paths[leaf.index(paths.len())];
        edit(text.pointer_mut(path).unwrap());
        // Deserialization detects some edits. Other edits have no effect, because the field is
        // computed from the evidence.
        if let Ok(read) = serde_json::from_value::<Vec<Event>>(text)
            && read != journal
        {
            let found = verify(&read).unwrap_err();
            let sequence = match found {
                VerifyError::Edited { sequence } => sequence,
                other => {
                    let message = format!("{other:?} after an edit of {path}");
                    return Err(TestCaseError::fail(message));
                }
            };
            // The error contains the edited entry's own sequence number.
            prop_assert_eq!(sequence, read[at].sequence, "{}", path);
        }
    }

    #[test]
    fn edit_with_recomputed_hash_is_detected(journal in journal(), which in any::<Index>()) {
        let at = which.index(journal.len());
        let mut forged = journal.clone();
        let entry = &journal[at];
        let time = Timestamp::from_micros(entry.time.as_micros() + 1_000_000);
        let kind = entry.kind.clone();
        forged[at] = Event::sealed(entry.evaluation, entry.sequence, time, kind, entry.previous);
        let found = verify_against(&forged, head(&journal)).unwrap_err();
        if at + 1 < journal.len() {
            let expected = journal[at + 1].sequence;
            prop_assert_eq!(misplaced_sequence(&found), Some(expected), "{:?}", found);
        } else {
            prop_assert!(matches!(found, VerifyError::Truncated { .. }), "{:?}", found);
        }
    }

    #[test]
    fn removed_entry_is_detected(journal in journal(), which in any::<Index>()) {
        let at = which.index(journal.len());
        let mut shorter = journal.clone();
        shorter.remove(at);
        if at + 1 < journal.len() {
            let found = verify(&shorter).unwrap_err();
            let expected = journal[at + 1].sequence;
            prop_assert_eq!(misplaced_sequence(&found), Some(expected), "{:?}", found);
        }
        prop_assert!(verify_against(&shorter, head(&journal)).is_err());
    }

    #[test]
    fn truncation_is_detected_with_known_head(journal in journal(), keep in any::<Index>()) {
        let shorter = &journal[..keep.index(journal.len())];
        prop_assert!(verify(shorter).is_ok(), "a prefix of a journal is valid");
        let found = verify_against(shorter, head(&journal)).unwrap_err();
        let last = shorter.last().map_or(Digest::ZERO, |event| event.hash);
        prop_assert_eq!(found, VerifyError::Truncated { expected: head(&journal), found: last });
    }

    #[test]
    fn reordered_entries_are_detected(
        journal in journal(),
        one in any::<Index>(),
        other in any::<Index>(),
    ) {
        let (one, other) = (one.index(journal.len()), other.index(journal.len()));
        prop_assume!(one != other);
        let mut shuffled = journal.clone();
        shuffled.swap(one, other);
        let first_wrong = shuffled[one.min(other)].sequence;
        let found = verify(&shuffled).unwrap_err();
        prop_assert_eq!(misplaced_sequence(&found), Some(first_wrong), "{:?}", found);
    }

    #[test]
    fn duplicate_entry_is_detected(
        journal in journal(),
        which in any::<Index>(),
        at in any::<Index>(),
    ) {
        let mut longer = journal.clone();
        let copy = journal[which.index(journal.len())].clone();
        longer.insert(at.index(journal.len() + 1), copy);
        let found = verify(&longer).unwrap_err();
        prop_assert!(matches!(found, VerifyError::Misplaced { .. }), "{:?}", found);
    }

    #[test]
    fn entry_of_another_journal_is_detected(
        journal in journal(),
        another in journal(),
        which in any::<Index>(),
        replaces in any::<bool>(),
    ) {
        let at = which.index(journal.len().min(another.len()));
        let mut mixed = journal.clone();
        if replaces {
            mixed[at] = another[at].clone();
        } else {
            mixed.insert(at, another[at].clone());
        }
        // The other journal's first entry alone is a valid journal with another head.
        prop_assert!(verify_against(&mixed, head(&journal)).is_err());
        if mixed.len() > 1 {
            let found = verify(&mixed).unwrap_err();
            prop_assert!(matches!(found, VerifyError::Misplaced { .. }), "{:?}", found);
        }
        }

    #[test]
    fn signal_in_journal_is_detected(journal in journal(), at in any::<Index>()) {
        let at = at.index(journal.len() + 1);
        let kind = TestEvent::Output.event_kind();
        let signal = Event::signal(journal[0].evaluation, at as u64, kind);
        let mut longer = journal.clone();
        longer.insert(at, signal);
        prop_assert_eq!(verify(&longer).unwrap_err(), VerifyError::Signal { sequence: at as u64 });
    }
}

#[test]
fn empty_journal_is_valid_without_head() {
    assert_eq!(verify_against(&[], Digest::ZERO).unwrap(), None);
    assert!(verify_against(&[], Digest::of(b"x")).is_err());
}

#[test]
fn generated_journals_are_long_enough() {
    use proptest::strategy::ValueTree as _;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let journals: Vec<_> =
        (0..200).map(|_| journal().new_tree(&mut runner).unwrap().current()).collect();
    assert!(journals.iter().filter(|journal| journal.len() > 5).count() > 50, "some are long");
    let ended =
        |journal: &&Vec<Event>| journal.last().is_some_and(|event| event.kind.is_terminal());
    assert!(journals.iter().filter(ended).count() > 50, "some have ended");
    let outcomes =
        journals.iter().flatten().filter(|event| matches!(event.kind, EventKind::Finished { .. }));
    assert!(outcomes.count() > 5, "some have outcomes");
}
