//! Writes the initial corpus of small, valid inputs: `cargo run --example corpus corpus`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{
    Captured, Collect, Digest, Ending, Evaluation, EvaluationId, Event, EventKind, Evidence,
    Limits, Outcome, Record, Timestamp, WorkerId,
};
use crucible_guest::protocol::{
    EntryKind, EntryRef, Exec, Exited, FrameKind, Header, OnExit, Overflow, PlanFlags,
    STDIO_PASSED, SandboxPlan, Strings, WireWriter, WriteRequest,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: corpus DIRECTORY")?;
    for (name, content) in protocol().into_iter().chain(texts()?).chain(random_bytes()) {
        let path = Path::new(&directory).join(name);
        fs::create_dir_all(path.parent().ok_or("a seed has no directory")?)?;
        fs::write(path, content)?;
    }
    Ok(())
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn bytes(write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut writer = WireWriter::new(&mut buffer);
    match write(&mut writer) {
        Ok(()) => writer.written().to_vec(),
        Err(Overflow) => panic!("a seed is too long for its buffer"),
    }
}

fn protocol() -> Seeds {
    let exec = Exec {
        stdio: STDIO_PASSED,
        on_exit: OnExit::KillBackground,
        status: true,
        quiet_us: 6,
        lend_mounts: true,
        deadline_us: 5,
        rlimits: &[0; 20],
        directory: b".\0",
        argv: Strings { count: 2, bytes: b"sh\0-c\0" },
        env: Strings { count: 1, bytes: b"A=1\0" },
    };
    let plan = SandboxPlan {
        flags: PlanFlags::READY,
        tasks_files: 1,
        landlock_abi: 7,
        outer_guest_id: 1,
        outer_target_id: 2,
        disk_bytes: 3,
        inodes: 4,
    };
    let write = WriteRequest {
        first: true,
        last: true,
        quiet: false,
        mode: 0o644,
        path: b"a/b\0",
        data: b"data",
    };
    let entry = EntryRef { kind: EntryKind::File, mode: 0o755, size: 9, name: b"name" };
    let entries = [&[0; 8][..], &bytes(|w| entry.encode(w))].concat();
    let exited = bytes(|w| Exited { wait_status: 9, empty: true, ..Exited::default() }.encode(w));
    let header = |kind, length| bytes(|w| Header { kind, id: 1, length }.encode(w));
    let frames =
        [header(FrameKind::Exited, 69), exited.clone(), header(FrameKind::Done, 0)].concat();
    vec![
        ("protocol/exec", bytes(|w| exec.encode(w))),
        ("protocol/plan", bytes(|w| plan.encode(w))),
        ("protocol/write", [bytes(|w| write.encode_head(w)), b"data".to_vec()].concat()),
        ("protocol/entries", entries),
        ("protocol/exited", exited),
        ("protocol/frames", frames),
    ]
}

fn texts() -> serde_json::Result<Seeds> {
    let waited =
        Evidence::Waited { ending: Ending::Exited { code: 3 }, after: Duration::from_millis(5) };
    let outcome = Outcome::new("subprocess", vec![waited, Evidence::Survivors { count: 1 }])
        .with_output(
            Captured::complete(b"out".to_vec().into()),
            Captured::complete(b"\xff".to_vec().into()),
        );
    let collect = Collect::matching(["out/**/*.txt"]);
    let evaluation =
        Evaluation::python("print(1)").with_limits(Limits::new()).with_collect(collect);
    let id = EvaluationId::from_bytes([7; 16]);
    let event = |sequence, kind, previous| {
        Event::sealed(id, sequence, Timestamp::from_micros(sequence), kind, previous)
    };
    let submitted =
        event(1, EventKind::Submitted { evaluation: evaluation.clone().into() }, Digest::ZERO);
    let started =
        EventKind::Started { attempt: 1, worker: WorkerId::new("w"), engine: "e".to_owned() };
    let started = event(2, started, submitted.hash);
    let finished =
        event(3, EventKind::Finished { outcome: Arc::new(outcome.clone()) }, started.hash);
    let events = vec![submitted, started, finished];
    let record = Record::fold(&events).ok().flatten();
    Ok(vec![
        ("wire/outcome", serde_json::to_vec(&outcome)?),
        ("wire/evaluation", serde_json::to_vec(&evaluation)?),
        ("wire/event", serde_json::to_vec(&events[2])?),
        ("wire/record", serde_json::to_vec(&record)?),
        ("journal/text", serde_json::to_vec(&events)?),
    ])
}

/// Returns bytes from which the targets generate values. Any bytes work.
fn random_bytes() -> Seeds {
    let mixed: Vec<u8> =
        (0..600_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let small: Vec<u8> = (0..300_u32).map(|n| n.wrapping_mul(7).to_le_bytes()[0] % 11).collect();
    vec![
        ("outcome/mixed", mixed.clone()),
        ("outcome/small", small.clone()),
        ("journal/mixed", mixed.clone()),
        ("journal/small", small),
        ("paths/mixed", mixed),
        ("paths/text", b"a/b.txt".to_vec()),
        ("paths/pattern", b"out/**/*.txtout/*[!a-z]".to_vec()),
    ]
}
