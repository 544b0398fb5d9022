//! Round trips: decoding an encoded value returns it, and truncated or extended messages are
//! refused.

use crucible_guest::protocol::{
    CgroupCounts, Confinement, Entries, Exec, ExecFailed, Exited, Failure, HEADER_SIZE, Header,
    Init, Layers, ListRequest, Opened, ProcUsage, ReadRequest, Ready, SandboxPlan, Started, Step,
    TemplateOp, VERSION, WireReader, WriteRequest,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::values::{self, borrow_entry, encode, needs_its_whole_buffer};

/// Checks that neither a truncated message decodes, nor one with further bytes.
fn is_whole<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>) -> Result<(), TestCaseError> {
    prop_assert!(decode(bytes).is_some());
    for length in 0..bytes.len() {
        let part = bytes.get(..length).unwrap_or_default();
        prop_assert!(decode(part).is_none(), "{} of {} bytes", length, bytes.len());
    }
    prop_assert!(decode(&[bytes, &[0]].concat()).is_none());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn header_survives_a_round_trip(
        kind in values::frame_kind(),
        id in any::<u32>(),
        length in any::<u32>(),
    ) {
        let header = Header { kind, id, length };
        let bytes: [u8; HEADER_SIZE] = encode(|writer| header.encode(writer)).try_into().unwrap();
        prop_assert_eq!(Header::decode(&bytes, usize::try_from(length).unwrap()), Ok(header));
        prop_assert_eq!(Header::decode(&bytes, usize::MAX), Ok(header));
        if let Some(most) = usize::try_from(length).unwrap().checked_sub(1) {
            prop_assert!(Header::decode(&bytes, most).is_err());
        }
        needs_its_whole_buffer(HEADER_SIZE, |writer| header.encode(writer))?;
    }

    #[test]
    fn command_survives_a_round_trip(exec in values::exec()) {
        let bytes = encode(|writer| exec.borrow().encode(writer));
        let decoded = Exec::decode(&bytes).unwrap();
        prop_assert_eq!(decoded, exec.borrow());
        prop_assert_eq!(decoded.rlimits().collect::<Vec<_>>(), &exec.limits[..]);
        let [argv, env] = exec.strings();
        prop_assert_eq!(decoded.argv.iter().collect::<Vec<_>>(), argv);
        prop_assert_eq!(decoded.env.iter().collect::<Vec<_>>(), env);
        is_whole(&bytes, |bytes| Exec::decode(bytes).ok().map(drop))?;
        needs_its_whole_buffer(bytes.len(), |writer| exec.borrow().encode(writer))?;
    }

    #[test]
    fn write_request_survives_a_round_trip(
        path in values::text(),
        data in values::bytes(100),
        mode in 0..=0o777_u32,
        flags in any::<[bool; 3]>(),
    ) {
        let [first, last, quiet] = flags;
        let request = WriteRequest { first, last, quiet, mode, path: &path, data: &data };
        let head = encode(|writer| request.encode_head(writer));
        let whole = [&head[..], &data].concat();
        prop_assert_eq!(WriteRequest::decode(&whole), Ok(request));
        for length in 0..head.len() {
            prop_assert!(WriteRequest::decode(&head[..length]).is_err());
        }
        needs_its_whole_buffer(head.len(), |writer| request.encode_head(writer))?;
    }

    #[test]
    fn read_and_list_requests_survive_a_round_trip(
        path in values::text(),
        offset in any::<u64>(),
        length in any::<u32>(),
    ) {
        let request = ReadRequest { offset, length, path: &path };
        let bytes = encode(|writer| request.encode(writer));
        prop_assert_eq!(ReadRequest::decode(&bytes), Ok(request));
        is_whole(&bytes, |bytes| ReadRequest::decode(bytes).ok().map(drop))?;
        let request = ListRequest { cursor: offset, path: &path };
        let bytes = encode(|writer| request.encode(writer));
        prop_assert_eq!(ListRequest::decode(&bytes), Ok(request));
        is_whole(&bytes, |bytes| ListRequest::decode(bytes).ok().map(drop))?;
    }

    #[test]
    fn entries_survive_a_round_trip(next in any::<u64>(), entries in vec(values::entry(), 0..8)) {
        let mut bytes = next.to_le_bytes().to_vec();
        for entry in &entries {
            bytes.extend(encode(|writer| borrow_entry(entry).encode(writer)));
        }
        let mut decoded = Entries::decode(&bytes).unwrap();
        prop_assert_eq!(decoded.next, next);
        for entry in &entries {
            prop_assert_eq!(decoded.next_entry(), Ok(Some(borrow_entry(entry))));
        }
        prop_assert_eq!(decoded.next_entry(), Ok(None));
        prop_assert_eq!(decoded.next_entry(), Ok(None));
    }

    #[test]
    fn plan_survives_a_round_trip(plan in values::plan()) {
        let bytes = encode(|writer| plan.encode(writer));
        prop_assert_eq!(SandboxPlan::decode(&mut WireReader::new(&bytes)), Ok(plan));
        is_whole(&bytes, |bytes| SandboxPlan::decode(&mut WireReader::new(bytes)).ok())?;
        needs_its_whole_buffer(bytes.len(), |writer| plan.encode(writer))?;
    }

    #[test]
    fn spawner_configuration_survives_a_round_trip(
        flags in values::init_flags(),
        ids in any::<(u32, u32)>(),
        path in values::text(),
    ) {
        let init = Init { flags, uid: ids.0, gid: ids.1, mount_point: &path };
        let bytes = encode(|writer| init.encode(writer));
        prop_assert_eq!(Init::decode(&mut WireReader::new(&bytes)), Ok(init));
        is_whole(&bytes, |bytes| Init::decode(&mut WireReader::new(bytes)).ok().map(drop))?;
    }

    #[test]
    fn template_operation_survives_a_round_trip(
        path in values::text(),
        other in values::text(),
        data in values::bytes(200),
        numbers in any::<(u32, u32)>(),
    ) {
        let (mode, minor) = numbers;
        for op in [
            TemplateOp::Directory { path: &path, mode },
            TemplateOp::Link { path: &path, target: &other },
            TemplateOp::File { path: &path, mode, data: &data },
            TemplateOp::Bind { source: &other, path: &path },
            TemplateOp::Device { source: &other, path: &path, major: mode, minor },
            TemplateOp::Proc { path: &path },
        ] {
            let bytes = encode(|writer| op.encode(writer));
            prop_assert_eq!(TemplateOp::decode(&mut WireReader::new(&bytes)), Ok(op));
            is_whole(&bytes, |bytes| {
                TemplateOp::decode(&mut WireReader::new(bytes)).ok().map(drop)
            })?;
            needs_its_whole_buffer(bytes.len(), |writer| op.encode(writer))?;
        }
    }

    #[test]
    fn replies_survive_a_round_trip(
        exited in values::exited(),
        pid in any::<u32>(),
        status in values::bytes(200),
    ) {
        let bytes = encode(|writer| exited.encode(writer));
        prop_assert_eq!(Exited::decode(&bytes), Ok(exited));
        is_whole(&bytes, |bytes| Exited::decode(bytes).ok())?;
        let bytes = encode(|writer| Opened { pid }.encode(writer));
        prop_assert_eq!(Opened::decode(&bytes), Ok(Opened { pid }));
        is_whole(&bytes, |bytes| Opened::decode(bytes).ok())?;
        let confinement = Confinement {
            capabilities: u64::from(pid) << 9,
            no_new_privs: pid % 2 == 1,
            seccomp: 2,
        };
        let started = Started { pid, ran_us: u64::from(pid) << 20, confinement, status: &status };
        let encoded = encode(|writer| started.encode(writer));
        prop_assert_eq!(Started::decode(&encoded), Ok(started));
        let counted = CgroupCounts { cpu_us: Some(7), ..CgroupCounts::default() };
        let ready = Ready { version: VERSION, layers: Layers(5), counted, status: &status };
        let encoded = encode(|writer| Ready::encode(Layers(5), counted, &status, writer));
        prop_assert_eq!(Ready::decode(&encoded), Ok(ready));
        prop_assert!(Ready::decode(&bytes[..3]).is_err() && Started::decode(&bytes[..3]).is_err());
    }

    #[test]
    fn failure_and_usage_survive_a_round_trip(
        step in any::<u16>(),
        errno in any::<i32>(),
        times in any::<(u64, u64)>(),
        processes in any::<u32>(),
    ) {
        let failure = Failure { step: Step(step), errno };
        let bytes = encode(|writer| failure.encode(writer));
        prop_assert_eq!(Failure::decode(&bytes), Ok(failure));
        prop_assert_eq!(ExecFailed::decode(&bytes), Ok(ExecFailed(failure)));
        is_whole(&bytes, |bytes| Failure::decode(bytes).ok())?;
        let usage = ProcUsage { user_us: times.0, system_us: times.1, processes };
        let bytes = encode(|writer| usage.encode(writer));
        prop_assert_eq!(ProcUsage::decode(&bytes), Ok(usage));
        is_whole(&bytes, |bytes| ProcUsage::decode(bytes).ok())?;
    }
}
