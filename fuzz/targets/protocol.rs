//! Every decoder of the protocol, and the stream of frames.
#![no_main]

use crucible_guest::protocol::{
    CgroupCounts, Entries, Exec, ExecFailed, Exited, Failure, FrameKind, HEADER_SIZE, Header, Init,
    ListRequest, Opened, Overflow, PAYLOAD_MAX_TO_GUEST, PAYLOAD_MAX_TO_HOST, PacketKind,
    ProcUsage, ReadRequest, Ready, SandboxPlan, SealReply, Started, TemplateOp, WireReader,
    WireWriter, WriteRequest,
};
use libfuzzer_sys::fuzz_target;

/// Returns the encoding of a value.
fn encode(size: usize, write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = vec![0; size];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).expect("a decoded value fits into the length of its encoding");
    writer.written().to_vec()
}

/// Checks that encoding a decoded value returns the same bytes, so that each value has one
/// encoding.
macro_rules! assert_round_trips {
    ($payload:ident, $($read:expr),*) => {$(
        if let Ok(value) = $read {
            assert_eq!(encode($payload.len(), |writer| value.encode(writer)), $payload);
        }
    )*};
}

fn decode_all(payload: &[u8]) {
    assert_round_trips!(
        payload,
        Exec::decode(payload),
        ReadRequest::decode(payload),
        ListRequest::decode(payload),
        SandboxPlan::decode(&mut WireReader::new(payload)),
        Init::decode(&mut WireReader::new(payload)),
        TemplateOp::decode(&mut WireReader::new(payload)),
        SealReply::decode(payload),
        Opened::decode(payload),
        Started::decode(payload),
        Exited::decode(payload),
        CgroupCounts::decode(payload),
        Failure::decode(payload),
        ProcUsage::decode(payload)
    );
    if let Ok(exec) = Exec::decode(payload) {
        assert_eq!(exec.rlimits().count() * 20, exec.rlimits.len());
        assert_eq!(exec.argv.iter().count(), exec.argv.count as usize);
        assert_eq!(exec.env.iter().count(), exec.env.count as usize);
    }
    if let Ok(request) = WriteRequest::decode(payload) {
        let head = encode(payload.len(), |writer| request.encode_head(writer));
        assert_eq!([&head, request.data].concat(), payload);
    }
    if let Ok(failure) = Failure::decode(payload) {
        assert_eq!(ExecFailed::decode(payload), Ok(ExecFailed(failure)));
        let _description = failure.step.describe();
    }
    if let Ok(ready) = Ready::decode(payload) {
        assert_eq!(ready.status.len() + 4 + 4 + 64, payload.len());
    }
    if let Ok(mut entries) = Entries::decode(payload) {
        let mut again = entries.next.to_le_bytes().to_vec();
        while let Ok(Some(entry)) = entries.next_entry() {
            assert!((1..=255).contains(&entry.name.len()) && !entry.name.contains(&b'/'));
            again.extend(encode(payload.len(), |writer| entry.encode(writer)));
        }
        assert!(payload.starts_with(&again));
    }
}

fuzz_target!(|data: &[u8]| {
    decode_all(data);
    // The input as a stream of frames.
    let mut rest = data;
    for payload_max in [PAYLOAD_MAX_TO_HOST, PAYLOAD_MAX_TO_GUEST].into_iter().cycle() {
        let Some((header, after)) = rest.split_first_chunk::<HEADER_SIZE>() else { break };
        let _kind = PacketKind::from_number(header[0]);
        let Ok(decoded) = Header::decode(header, payload_max) else { break };
        assert!(decoded.length as usize <= payload_max);
        assert_eq!(FrameKind::from_number(decoded.kind as u8), Some(decoded.kind));
        assert_eq!(encode(HEADER_SIZE, |writer| decoded.encode(writer)), header);
        let Some((payload, next)) = after.split_at_checked(decoded.length as usize) else { break };
        decode_all(payload);
        rest = next;
    }
});
