//! The journal: hashing entries in canonical form.

use std::hint::black_box;
use std::sync::Arc;

use crucible_core::{Digest, EvaluationId, Event, EventKind, Record, Timestamp};

use super::{Step, sample};

/// Creates the first entry of a journal.
pub(super) fn submitted(id: EvaluationId) -> Event {
    let kind = EventKind::Submitted { evaluation: Arc::new(sample::evaluation()) };
    Event::sealed(id, 1, Timestamp::from_micros(1_700_000_000_000_000), kind, Digest::ZERO)
}

/// Creates the following entries of an ordinary journal.
pub(super) fn kinds() -> [EventKind; 2] {
    let started =
        EventKind::Started { attempt: 1, worker: sample::worker(), engine: "only".to_owned() };
    [started, EventKind::Finished { outcome: Arc::new(sample::outcome()) }]
}

pub(super) fn hash(_: usize) -> Step {
    let event = submitted(EvaluationId::new());
    Box::new(move || {
        assert_eq!(black_box(&event).computed_hash(), event.hash);
    })
}

pub(super) fn chain(_: usize) -> Step {
    let first = submitted(EvaluationId::new());
    let (record, kinds) = (Record::apply(None, &first).expect("a journal"), kinds());
    Box::new(move || {
        let mut record = record.clone();
        for kind in &kinds {
            let event = record.next(kind.clone());
            record = Record::apply(Some(&record), &event).expect("it follows");
        }
        black_box(record);
    })
}
