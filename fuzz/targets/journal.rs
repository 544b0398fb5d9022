//! Journals: events in order are accepted, and changed journals are rejected.
#![no_main]

use arbitrary::{Result, Unstructured};
use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, Record, Timestamp, verify, verify_against,
};
use libfuzzer_sys::fuzz_target;

/// Generates a journal of valid events, as the platform would write it.
fn journal(data: &mut Unstructured<'_>) -> Result<(Vec<Event>, Record)> {
    let evaluation = Evaluation::shell("true").into();
    let first = EventKind::Submitted { evaluation };
    let id = EvaluationId::from_bytes([7; 16]);
    let mut events = vec![Event::sealed(id, 1, Timestamp::from_micros(1), first, Digest::ZERO)];
    let mut record = Record::apply(None, &events[0]).expect("the first event fits");
    for _ in 0..data.int_in_range(0..=3)? {
        let kind = crucible_fuzz::event_kind(data)?;
        let event =
            Event::sealed(id, record.sequence + 1, Timestamp::from_micros(2), kind, record.head);
        if let Ok(next) = Record::apply(Some(&record), &event) {
            assert!(!record.state.is_terminal(), "an event follows a terminal state");
            record = next;
            events.push(event);
        }
    }
    Ok((events, record))
}

/// Changes a journal: swaps, removes, repeats or edits events.
fn tamper(data: &mut Unstructured<'_>, events: &mut Vec<Event>) -> Result<()> {
    let at = data.choose_index(events.len())?;
    match data.int_in_range(0..=6)? {
        0 => events.swap(0, at),
        1 => drop(events.remove(at)),
        2 => events.push(events[at].clone()),
        3 => events[at].sequence = data.arbitrary()?,
        4 => events[at].kind = crucible_fuzz::event_kind(data)?,
        5 => events[at].previous = Digest::from_bytes(data.arbitrary()?),
        _ => events[at].hash = Digest::from_bytes(data.arbitrary()?),
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // The input as stored text.
    if let Ok(events) = serde_json::from_slice::<Vec<Event>>(data) {
        let _result = verify(&events);
        let _result = Record::fold(&events);
    }
    let mut data = Unstructured::new(data);
    let Ok((events, record)) = journal(&mut data) else { return };
    assert_eq!(verify(&events).as_ref(), Ok(&Some(record.clone())));
    assert_eq!(Record::fold(&events), Ok(Some(record.clone())));
    let json = serde_json::to_string(&events).expect("a journal has a wire format");
    let mut read: Vec<Event> = serde_json::from_str(&json).expect("the wire format decodes");
    assert_eq!(read, events);
    if tamper(&mut data, &mut read).is_ok() && read != events {
        assert!(verify_against(&read, record.head).is_err(), "a changed journal is accepted");
    }
});
