//! Whatever is done to a journal behind the storage's back is found.

#![expect(
    clippy::unwrap_used,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

#[path = "support/kinds.rs"]
mod kinds;

use crucible_core::{
    Digest, EvaluationId, Event, EventKind, Record, Timestamp, VerifyError, verify, verify_against,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::kinds::{Kind, kind};

/// Journals as a platform writes them: of what is drawn, whatever fits.
fn journal() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(kind(), 0..40).prop_map(|drawn| {
        let id = EvaluationId::new();
        let submitted = Event::sealed(
            id,
            1,
            Timestamp::from_micros(1),
            Kind::Submitted.event_kind(),
            Digest::ZERO,
        );
        let mut record = Record::apply(None, &submitted).unwrap();
        let mut events = vec![submitted];
        for kind in drawn {
            let time = Timestamp::from_micros(record.sequence + 1);
            // Attempts are drawn from few numbers, so the right one is put in: longer journals are wanted.
            let kind = match kind {
                Kind::Started { .. } => Kind::Started { attempt: record.attempt + 1 },
                Kind::Requeued { .. } => Kind::Requeued { attempt: record.attempt },
                Kind::AttemptFailed { .. } => Kind::AttemptFailed { attempt: record.attempt },
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

fn head(journal: &[Event]) -> Digest {
    journal.last().unwrap().hash
}

/// The ways into a JSON value to everything that is no list and no object.
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
            // A digit of a hash stays a digit, so that it is read and compared.
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
    fn a_journal_as_it_was_written_is_sound_also_after_the_wire(journal in journal()) {
        let record = verify_against(&journal, head(&journal)).unwrap();
        prop_assert_eq!(&record, &Record::fold(&journal).unwrap());
        let text = serde_json::to_string(&journal).unwrap();
        let read: Vec<Event> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &journal);
        prop_assert_eq!(verify_against(&read, head(&journal)).unwrap(), record);
    }

    #[test]
    fn an_edit_anywhere_in_the_text_is_found(journal in journal(), which in any::<Index>(), leaf in any::<Index>()) {
        let at = which.index(journal.len());
        let mut text = serde_json::to_value(&journal).unwrap();
        let mut paths = Vec::new();
        leaves(&text[at], &format!("/{at}"), &mut paths);
        let path = &paths[leaf.index(paths.len())];
        edit(text.pointer_mut(path).unwrap());
        // What cannot be read any more is found by reading it. What reads as before says nothing else than before: who
        // is to blame, say, follows from the evidence, whatever the text says.
        if let Ok(read) = serde_json::from_value::<Vec<Event>>(text)
            && read != journal
        {
            let found = verify(&read).unwrap_err();
            let sequence = match found {
                VerifyError::Edited { sequence } => sequence,
                other => return Err(TestCaseError::fail(format!("{other:?} after an edit of {path}"))),
            };
            // It is the edited entry that is named, by the number that it gives itself.
            prop_assert_eq!(sequence, read[at].sequence, "{}", path);
        }
    }

    #[test]
    fn an_edit_that_is_sealed_anew_is_found(journal in journal(), which in any::<Index>()) {
        let at = which.index(journal.len());
        let mut forged = journal.clone();
        let entry = &journal[at];
        let time = Timestamp::from_micros(entry.time.as_micros() + 1_000_000);
        forged[at] = Event::sealed(entry.evaluation, entry.sequence, time, entry.kind.clone(), entry.previous);
        let found = verify_against(&forged, head(&journal)).unwrap_err();
        if at + 1 < journal.len() {
            let expected = journal[at + 1].sequence;
            prop_assert!(matches!(found, VerifyError::Misplaced { sequence, .. } if sequence == expected), "{:?}", found);
        } else {
            prop_assert!(matches!(found, VerifyError::Truncated { .. }), "{:?}", found);
        }
    }

    #[test]
    fn a_dropped_entry_is_found(journal in journal(), which in any::<Index>()) {
        let at = which.index(journal.len());
        let mut shorter = journal.clone();
        shorter.remove(at);
        if at + 1 < journal.len() {
            let found = verify(&shorter).unwrap_err();
            let expected = journal[at + 1].sequence;
            prop_assert!(matches!(found, VerifyError::Misplaced { sequence, .. } if sequence == expected), "{:?}", found);
        }
        prop_assert!(verify_against(&shorter, head(&journal)).is_err());
    }

    #[test]
    fn the_removal_of_the_newest_entries_is_found_by_who_kept_the_head(journal in journal(), keep in any::<Index>()) {
        let shorter = &journal[..keep.index(journal.len())];
        prop_assert!(verify(shorter).is_ok(), "it is sound in itself");
        let found = verify_against(shorter, head(&journal)).unwrap_err();
        let last = shorter.last().map_or(Digest::ZERO, |event| event.hash);
        prop_assert_eq!(found, VerifyError::Truncated { expected: head(&journal), found: last });
    }

    #[test]
    fn entries_in_another_order_are_found(journal in journal(), one in any::<Index>(), other in any::<Index>()) {
        let (one, other) = (one.index(journal.len()), other.index(journal.len()));
        prop_assume!(one != other);
        let mut shuffled = journal.clone();
        shuffled.swap(one, other);
        let first_wrong = shuffled[one.min(other)].sequence;
        let found = verify(&shuffled).unwrap_err();
        prop_assert!(matches!(found, VerifyError::Misplaced { sequence, .. } if sequence == first_wrong), "{:?}", found);
    }

    #[test]
    fn an_entry_that_is_there_twice_is_found(journal in journal(), which in any::<Index>(), at in any::<Index>()) {
        let mut longer = journal.clone();
        let copy = journal[which.index(journal.len())].clone();
        longer.insert(at.index(journal.len() + 1), copy);
        let found = verify(&longer).unwrap_err();
        prop_assert!(matches!(found, VerifyError::Misplaced { .. }), "{:?}", found);
    }

    #[test]
    fn an_entry_of_another_journal_is_found(
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
        // Another's first entry alone is another's journal, sound in itself; but its head is not ours.
        prop_assert!(verify_against(&mixed, head(&journal)).is_err());
        if mixed.len() > 1 {
            let found = verify(&mixed).unwrap_err();
        prop_assert!(matches!(found, VerifyError::Misplaced { .. }), "{:?}", found);
        }
    }

    #[test]
    fn a_signal_is_found(journal in journal(), at in any::<Index>()) {
        let at = at.index(journal.len() + 1);
        let signal = Event::signal(journal[0].evaluation, at as u64, Kind::Output.event_kind());
        let mut longer = journal.clone();
        longer.insert(at, signal);
        prop_assert_eq!(verify(&longer).unwrap_err(), VerifyError::Signal { sequence: at as u64 });
    }
}

#[test]
fn no_journal_is_sound_and_has_no_head() {
    assert_eq!(verify_against(&[], Digest::ZERO).unwrap(), None);
    assert!(verify_against(&[], Digest::of(b"x")).is_err());
}

#[test]
fn the_journals_that_are_drawn_are_worth_it() {
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
