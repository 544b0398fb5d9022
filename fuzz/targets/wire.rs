//! Text as an outcome, a record, an event, an evaluation, or a ticket.
#![no_main]

use crucible_core::{Evaluation, Event, Outcome, Record, Ticket, judge};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes a value and checks that it survives a round trip.
fn round_trip<T: Serialize + DeserializeOwned + std::fmt::Debug + PartialEq>(
    text: &[u8],
) -> Option<T> {
    let value: T = serde_json::from_slice(text).ok()?;
    let json = serde_json::to_string(&value).expect("a decoded value has a wire format");
    let again: T = serde_json::from_str(&json).expect("the wire format decodes");
    assert_eq!(again, value);
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    if let Some(outcome) = round_trip::<Outcome>(data) {
        // The verdict follows from the evidence, and not from the text.
        assert_eq!(*outcome.verdict(), judge(outcome.evidence()));
        let _text = outcome.verdict().to_string();
    }
    if let Some(record) = round_trip::<Record>(data) {
        let _next = record.next(crucible_core::EventKind::CancelRequested);
    }
    if let Some(event) = round_trip::<Event>(data) {
        let _hash = event.computed_hash();
        let _result = Record::apply(None, &event);
    }
    let _evaluation: Option<Evaluation> = round_trip(data);
    let _ticket: Option<Ticket> = serde_json::from_slice(data).ok();
});
