//! Text that claims to be an outcome, a record, an event, or an evaluation.
#![no_main]

use crucible_core::{Evaluation, Event, Outcome, Record, Ticket, judge};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be read can be written, and read again as the same.
fn there_and_back<T: Serialize + DeserializeOwned + std::fmt::Debug + PartialEq>(
    text: &[u8],
) -> Option<T> {
    let value: T = serde_json::from_slice(text).ok()?;
    let json = serde_json::to_string(&value).expect("what was read has a wire form");
    let again: T = serde_json::from_str(&json).expect("the wire form can be read");
    assert_eq!(again, value);
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    if let Some(outcome) = there_and_back::<Outcome>(data) {
        // Whatever the text says of the verdict.
        assert_eq!(*outcome.verdict(), judge(outcome.evidence()));
        let _text = outcome.verdict().to_string();
    }
    if let Some(record) = there_and_back::<Record>(data) {
        let _next = record.next(crucible_core::EventKind::CancelRequested);
    }
    if let Some(event) = there_and_back::<Event>(data) {
        let _hash = event.computed_hash();
        let _record_or_not = Record::apply(None, &event);
    }
    let _evaluation: Option<Evaluation> = there_and_back(data);
    let _ticket: Option<Ticket> = serde_json::from_slice(data).ok();
});
