//! Values outside of their bounds, which are refused.

use crucible_guest::protocol::{
    Entries, EntryKind, EntryRef, Exec, Exited, Init, InitFlags, ListRequest, MAX_TASKS_FILES,
    Malformed, OnExit, Overflow, PlanFlags, ReadRequest, SandboxPlan, Strings, TemplateOp,
    WireReader, WireWriter, WriteRequest,
};

use super::values::encode;

const PLAN: SandboxPlan = SandboxPlan {
    flags: PlanFlags::READY,
    tasks_files: 0,
    landlock_abi: 1,
    outer_guest_id: 2,
    outer_target_id: 3,
    disk_bytes: 4,
    inodes: 5,
};

fn is_a_plan(plan: SandboxPlan) -> bool {
    SandboxPlan::decode(&mut WireReader::new(&encode(|writer| plan.encode(writer)))).is_ok()
}

#[test]
fn contradictory_plan_is_refused() {
    assert!(is_a_plan(PLAN));
    let most = u8::try_from(MAX_TASKS_FILES).unwrap();
    assert!(is_a_plan(SandboxPlan { tasks_files: most, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { tasks_files: most + 1, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { disk_bytes: 0, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { inodes: 0, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { flags: PlanFlags(1 << 11), ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { flags: PlanFlags(u32::MAX), ..PLAN }));
    let both = PlanFlags::NEW_NETWORK.with(PlanFlags::ENTER_NETWORK);
    assert!(!is_a_plan(SandboxPlan { flags: both, ..PLAN }));
    // Egress requires a namespace that no other sandbox ever uses.
    let shared = PlanFlags::ENTER_NETWORK.with(PlanFlags::EGRESS);
    assert!(!is_a_plan(SandboxPlan { flags: shared, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { flags: PlanFlags::EGRESS, ..PLAN }));
    let slot = PlanFlags::SLOT.with(PlanFlags::NEW_NETWORK);
    assert!(is_a_plan(SandboxPlan { flags: slot, ..PLAN }));
    assert!(!is_a_plan(SandboxPlan { flags: slot.with(PlanFlags::EGRESS), ..PLAN }));
    assert!(is_a_plan(SandboxPlan {
        flags: PlanFlags::NEW_NETWORK.with(PlanFlags::EGRESS),
        ..PLAN
    }));
}

#[test]
fn invalid_name_is_refused() {
    let long = [b'x'; 256];
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &long] {
        let entry = EntryRef { kind: EntryKind::File, mode: 0, size: 0, name };
        let bytes = [&[0; 8][..], &encode(|writer| entry.encode(writer))].concat();
        assert_eq!(Entries::decode(&bytes).unwrap().next_entry(), Err(Malformed), "{name:?}");
    }
    let entry = EntryRef { kind: EntryKind::File, mode: 0, size: 0, name: &long[..255] };
    let mut bytes = [&[0; 8][..], &encode(|writer| entry.encode(writer))].concat();
    assert_eq!(Entries::decode(&bytes).unwrap().next_entry(), Ok(Some(entry)));
    bytes[8] = 3;
    assert_eq!(Entries::decode(&bytes).unwrap().next_entry(), Err(Malformed), "an unknown kind");
    assert!(Entries::decode(&bytes[..7]).is_err());
}

#[test]
fn invalid_path_is_refused() {
    for path in [&b""[..], b"\0", b"a", b"a\0b\0", b"a\0b", b"\0a\0"] {
        let write =
            WriteRequest { first: true, last: true, quiet: false, mode: 0, path, data: &[] };
        assert!(
            WriteRequest::decode(&encode(|writer| write.encode_head(writer))).is_err(),
            "{path:?}"
        );
        let read = encode(|writer| ReadRequest { offset: 0, length: 0, path }.encode(writer));
        assert!(ReadRequest::decode(&read).is_err(), "{path:?}");
        let list = encode(|writer| ListRequest { cursor: 0, path }.encode(writer));
        assert!(ListRequest::decode(&list).is_err(), "{path:?}");
        for op in [TemplateOp::Proc { path }, TemplateOp::Link { path: b"a\0", target: path }] {
            let bytes = encode(|writer| op.encode(writer));
            assert!(TemplateOp::decode(&mut WireReader::new(&bytes)).is_err(), "{path:?}");
        }
        let init = Init { flags: InitFlags(0), uid: 0, gid: 0, mount_point: path };
        let bytes = encode(|writer| init.encode(writer));
        assert!(Init::decode(&mut WireReader::new(&bytes)).is_err(), "{path:?}");
    }
}

#[test]
fn unknown_modes_and_flags_are_refused() {
    let write = |mode| {
        let request =
            WriteRequest { first: true, last: true, quiet: true, mode, path: b"a\0", data: b"" };
        encode(|writer| request.encode_head(writer))
    };
    assert!(WriteRequest::decode(&write(0o777)).is_ok());
    for mode in [0o1000, 0o2755, 0o4755, u32::MAX] {
        assert!(WriteRequest::decode(&write(mode)).is_err(), "{mode:o}");
    }
    let mut bytes = write(0);
    bytes[0] = 8;
    assert!(WriteRequest::decode(&bytes).is_err());
    let mut bytes = encode(|writer| Exited::default().encode(writer));
    bytes[4] = 4;
    assert!(Exited::decode(&bytes).is_err());
    for number in [0, 7, 255] {
        assert!(TemplateOp::decode(&mut WireReader::new(&[number, 2, 0, 0, 0, b'a', 0])).is_err());
    }
}

#[test]
fn command_with_one_invalid_part_is_refused() {
    let argv = Strings { count: 2, bytes: b"a\0b\0" };
    let env = Strings { count: 0, bytes: b"" };
    let (on_exit, directory, rlimits) = (OnExit::KeepBackground, &b".\0"[..], &[0; 20][..]);
    let sound = Exec {
        stdio: 0,
        on_exit,
        status: false,
        quiet_us: 0,
        lend_mounts: false,
        deadline_us: 0,
        rlimits,
        directory,
        argv,
        env,
    };
    let bytes = encode(|writer| sound.encode(writer));
    assert_eq!(Exec::decode(&bytes), Ok(sound));
    for unsound in [
        Exec { stdio: 2, ..sound },
        Exec { rlimits: &[0; 19], ..sound },
        Exec { directory: b"", ..sound },
        Exec { directory: b"a\0b\0", ..sound },
        Exec { directory: b"a", ..sound },
        Exec { argv: env, ..sound },
        Exec { argv: Strings { count: 3, ..argv }, ..sound },
        Exec { argv: Strings { count: 1, ..argv }, ..sound },
        Exec { env: Strings { count: 1, bytes: b"A=1" }, ..sound },
        Exec { env: Strings { count: u32::MAX, bytes: b"A=1\0" }, ..sound },
    ] {
        assert_eq!(
            Exec::decode(&encode(|writer| unsound.encode(writer))),
            Err(Malformed),
            "{unsound:?}"
        );
    }
    // Byte 1 is `on_exit`, byte 2 is `status`, byte 7 is `lend_mounts`.
    for (at, byte) in [(1, 3), (1, 255), (2, 2), (2, 255), (7, 2), (7, 255)] {
        let mut changed = bytes.clone();
        changed[at] = byte;
        assert_eq!(Exec::decode(&changed), Err(Malformed), "{byte} at {at}");
    }
}

#[test]
fn full_writer_keeps_what_it_has_written() {
    let mut buffer = [0xaa; 8];
    let mut writer = WireWriter::new(&mut buffer[..6]);
    assert!(writer.is_empty());
    assert_eq!(writer.u32(1), Ok(()));
    assert_eq!(writer.u32(2), Err(Overflow));
    assert_eq!(writer.u16(3), Ok(()));
    assert_eq!(writer.u8(4), Err(Overflow));
    assert_eq!(writer.raw(&[]), Ok(()));
    assert_eq!((writer.len(), writer.written()), (6, &[1, 0, 0, 0, 3, 0][..]));
    assert_eq!(buffer[6..], [0xaa; 2]);
}
