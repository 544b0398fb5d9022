//! Arbitrary bytes, and messages with changed bytes. No decoder panics, returns bytes outside of
//! its input, or accepts two encodings of the same value.

use std::ops::Range;

use crucible_guest::protocol::{
    CgroupCounts, Entries, EntryRef, Exec, ExecFailed, Exited, Failure, FrameKind, HEADER_SIZE,
    Header, Init, ListRequest, Opened, PAYLOAD_MAX_TO_GUEST, PacketKind, ProcUsage, ReadRequest,
    Ready, SandboxPlan, SealReply, Started, Strings, TemplateOp, WireReader, WriteRequest,
};
use proptest::prelude::*;

use super::values::{self, borrow_entry, encode};

/// Returns `true` if all slices lie in the payload that they were decoded from.
fn within(payload: &[u8], slices: &[&[u8]]) -> bool {
    let Range { start, end } = payload.as_ptr_range();
    slices.iter().all(|slice| {
        let found = slice.as_ptr_range();
        slice.is_empty() || (start <= found.start && found.end <= end)
    })
}

fn slices_of<'a>(op: &TemplateOp<'a>) -> Vec<&'a [u8]> {
    match *op {
        TemplateOp::Directory { path, .. } | TemplateOp::Proc { path } => vec![path],
        TemplateOp::Link { path, target } => vec![path, target],
        TemplateOp::File { path, data, .. } => vec![path, data],
        TemplateOp::Bind { source, path } | TemplateOp::Device { source, path, .. } => {
            vec![source, path]
        }
    }
}

/// Passes the bytes to every decoder. Encoding a decoded value must return the same bytes.
fn decode_as_everything(payload: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(exec) = Exec::decode(payload) {
        let limits: Vec<_> = exec.rlimits().collect();
        prop_assert_eq!(limits.len() * 20, exec.rlimits.len());
        prop_assert_eq!(exec.argv.iter().count(), usize::try_from(exec.argv.count).unwrap());
        prop_assert_eq!(exec.env.iter().count(), usize::try_from(exec.env.count).unwrap());
        prop_assert!(within(
            payload,
            &[exec.rlimits, exec.directory, exec.argv.bytes, exec.env.bytes]
        ));
        prop_assert_eq!(encode(|writer| exec.encode(writer)), payload);
    }
    if let Ok(request) = WriteRequest::decode(payload) {
        prop_assert!(within(payload, &[request.path, request.data]));
        let head = encode(|writer| request.encode_head(writer));
        prop_assert_eq!([&head, request.data].concat(), payload);
    }
    if let Ok(request) = ReadRequest::decode(payload) {
        prop_assert!(within(payload, &[request.path]));
        prop_assert_eq!(encode(|writer| request.encode(writer)), payload);
    }
    if let Ok(request) = ListRequest::decode(payload) {
        prop_assert!(within(payload, &[request.path]));
        prop_assert_eq!(encode(|writer| request.encode(writer)), payload);
    }
    if let Ok(plan) = SandboxPlan::decode(&mut WireReader::new(payload)) {
        prop_assert_eq!(encode(|writer| plan.encode(writer)), payload);
    }
    if let Ok(init) = Init::decode(&mut WireReader::new(payload)) {
        prop_assert!(within(payload, &[init.mount_point]));
        prop_assert_eq!(encode(|writer| init.encode(writer)), payload);
    }
    if let Ok(op) = TemplateOp::decode(&mut WireReader::new(payload)) {
        prop_assert!(within(payload, &slices_of(&op)));
        prop_assert_eq!(encode(|writer| op.encode(writer)), payload);
    }
    decode_as_replies(payload)
}

fn decode_as_replies(payload: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(sealed) = SealReply::decode(payload) {
        prop_assert_eq!(encode(|writer| sealed.encode(writer)), payload);
    }
    if let Ok(opened) = Opened::decode(payload) {
        prop_assert_eq!(encode(|writer| opened.encode(writer)), payload);
    }
    if let Ok(ready) = Ready::decode(payload) {
        prop_assert!(within(payload, &[ready.status]));
        let written =
            encode(|writer| Ready::encode(ready.layers, ready.counted, ready.status, writer));
        prop_assert_eq!(
            written.get(4..),
            payload.get(4..),
            "all bytes except the version, which may differ"
        );
    }
    if let Ok(started) = Started::decode(payload) {
        prop_assert!(within(payload, &[started.status]));
        prop_assert_eq!(encode(|writer| started.encode(writer)), payload);
    }
    if let Ok(counted) = CgroupCounts::decode(payload) {
        prop_assert_eq!(encode(|writer| counted.encode(writer)), payload);
    }
    if let Ok(exited) = Exited::decode(payload) {
        prop_assert_eq!(encode(|writer| exited.encode(writer)), payload);
    }
    if let Ok(failure) = Failure::decode(payload) {
        prop_assert_eq!(encode(|writer| failure.encode(writer)), payload);
        prop_assert_eq!(ExecFailed::decode(payload), Ok(ExecFailed(failure)));
        let _words_or_none = failure.step.describe();
    }
    if let Ok(usage) = ProcUsage::decode(payload) {
        prop_assert_eq!(encode(|writer| usage.encode(writer)), payload);
    }
    let Ok(mut entries) = Entries::decode(payload) else { return Ok(()) };
    let mut again = entries.next.to_le_bytes().to_vec();
    while let Ok(Some(entry)) = entries.next_entry() {
        prop_assert!(within(payload, &[entry.name]));
        prop_assert!(!entry.name.is_empty() && entry.name.len() <= 255);
        again.extend(encode(|writer| entry.encode(writer)));
    }
    prop_assert!(payload.starts_with(&again));
    Ok(())
}

/// Generates an encoded message of any kind.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        values::exec().prop_map(|exec| encode(|writer| exec.borrow().encode(writer))),
        values::plan().prop_map(|plan| encode(|writer| plan.encode(writer))),
        values::exited().prop_map(|exited| encode(|writer| exited.encode(writer))),
        values::text().prop_map(|path| encode(|w| ReadRequest {
            offset: 1,
            length: 2,
            path: &path
        }
        .encode(w))),
        values::text()
            .prop_map(|path| encode(|w| TemplateOp::Bind { source: &path, path: &path }.encode(w))),
        values::entry().prop_map(|entry| {
            let entry: EntryRef<'_> = borrow_entry(&entry);
            [&[0; 8][..], &encode(|writer| entry.encode(writer))].concat()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_decode_safely(payload in values::bytes(300)) {
        decode_as_everything(&payload)?;
    }

    /// Small bytes are often valid lengths and kinds.
    #[test]
    fn small_bytes_decode_safely(payload in proptest::collection::vec(0..8_u8, 0..120)) {
        decode_as_everything(&payload)?;
    }

    #[test]
    fn message_with_a_changed_byte_decodes_safely(
        message in message(),
        place in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut message = message;
        let at = place.index(message.len());
        message[at] = byte;
        decode_as_everything(&message)?;
    }

    #[test]
    fn message_with_a_wrong_length_decodes_safely(
        message in message(),
        place in any::<proptest::sample::Index>(),
        length in prop_oneof![any::<u32>(), Just(u32::MAX), Just(0), 0..600_u32],
    ) {
        let mut message = message;
        let at = place.index(message.len() - 3);
        message[at..at + 4].copy_from_slice(&length.to_le_bytes());
        decode_as_everything(&message)?;
    }

    #[test]
    fn header_length_is_bounded(
        bytes in any::<[u8; HEADER_SIZE]>(),
        most in 0..=PAYLOAD_MAX_TO_GUEST,
    ) {
        if let Ok(header) = Header::decode(&bytes, most) {
            prop_assert!(usize::try_from(header.length).unwrap() <= most);
            prop_assert_eq!(encode(|writer| header.encode(writer)), bytes);
        }
    }

    #[test]
    fn strings_match_their_count(
        count in 0..20_u32,
        bytes in proptest::collection::vec(0..3_u8, 0..40),
    ) {
        let nuls = bytes.iter().filter(|byte| **byte == 0).count();
        let sound = nuls == usize::try_from(count).unwrap()
            && bytes.last().is_none_or(|last| *last == 0);
        match Strings::new(count, &bytes) {
            Ok(strings) => {
                prop_assert!(sound);
                prop_assert_eq!(strings.iter().count(), nuls);
                prop_assert_eq!(strings.iter().collect::<Vec<_>>().concat(), bytes);
            }
            Err(_) => prop_assert!(!sound),
        }
    }

    #[test]
    fn reader_stops_at_the_end(payload in values::bytes(40), sizes in values::bytes(12)) {
        let mut reader = WireReader::new(&payload);
        for size in sizes {
            let before = reader.rest();
            match reader.raw(usize::from(size)) {
                Ok(bytes) => prop_assert_eq!([bytes, reader.rest()].concat(), before),
                Err(_) => {
                    prop_assert!(usize::from(size) > before.len());
                    prop_assert_eq!(reader.rest(), before);
                }
            }
        }
        prop_assert_eq!(reader.end().is_ok(), reader.rest().is_empty());
    }
}

#[test]
fn kind_survives_a_round_trip() {
    for number in 0..=255 {
        assert!(FrameKind::from_number(number).is_none_or(|kind| kind as u8 == number));
        assert!(PacketKind::from_number(number).is_none_or(|kind| kind as u8 == number));
    }
}
