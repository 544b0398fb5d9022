//! The guest protocol.

use std::hint::black_box;

use crucible_core::{Command, Limits};
use crucible_guest::protocol::{
    Confinement, Exited, FrameKind, HEADER_SIZE, Header, OnExit, STDIO_PASSED, Started, WireWriter,
};
use crucible_guest_client::FrameDecoder;
use crucible_guest_client::request::{self, ExecParameters};

use super::Step;

/// The typical length of `/proc/PID/status` (proc(5)), in bytes.
const STATUS: usize = 1400;

pub(super) fn encode(_: usize) -> Step {
    let command = Command::new(["/usr/bin/python3", "-I", "main.py", "--verbose"])
        .with_env("LANG", "C.UTF-8")
        .with_env("SEED", "7");
    let variables = ["HOME=/box", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"].map(str::to_owned);
    Box::new(move || {
        let mut limits = request::process_limits(&Limits::new());
        limits.extend(request::priority_limits());
        let rlimits = request::rlimits(&limits).expect("limits");
        let (stdio, on_exit) = (STDIO_PASSED, OnExit::Seal);
        let (deadline_us, status) = (12_000_000, true);
        let (quiet_us, lend_mounts) = (2000, false);
        let parameters = ExecParameters {
            stdio,
            variables: &variables,
            on_exit,
            deadline_us,
            status,
            quiet_us,
            lend_mounts,
            rlimits: &rlimits,
        };
        let request = request::exec(black_box(&command), parameters).expect("a request");
        let mut header = [0; HEADER_SIZE];
        let length = u32::try_from(request.len()).expect("a length");
        Header { kind: FrameKind::Exec, id: 1, length }
            .encode(&mut WireWriter::new(&mut header))
            .expect("a header");
        black_box((header, request));
    })
}

/// Decodes the frames that a guest sends for an ordinary command.
pub(super) fn decode(_: usize) -> Step {
    let mut frames_sent = Vec::new();
    let started = Started {
        pid: 2,
        ran_us: 900,
        confinement: Confinement { capabilities: 0, no_new_privs: true, seccomp: 2 },
        status: &[b'x'; STATUS],
    };
    frame(&mut frames_sent, FrameKind::Started, |writer| started.encode(writer).expect("room"));
    frame(&mut frames_sent, FrameKind::Stdout, |writer| writer.raw(&[b'x'; 2000]).expect("room"));
    let exited = Exited { empty: true, wall_us: 12_000, ..Exited::default() };
    frame(&mut frames_sent, FrameKind::Exited, |writer| exited.encode(writer).expect("room"));
    let mut decoder = FrameDecoder::new();
    Box::new(move || {
        let spare = decoder.spare_mut();
        spare.get_mut(..frames_sent.len()).expect("room").copy_from_slice(&frames_sent);
        decoder.advance(frames_sent.len());
        while let Some(frame) = decoder.next_frame().expect("frames") {
            match frame.kind {
                FrameKind::Started => {
                    black_box(Started::decode(&frame.payload).expect("a start"));
                }
                FrameKind::Exited => {
                    black_box(Exited::decode(&frame.payload).expect("an end"));
                }
                _ => drop(black_box(frame)),
            }
        }
    })
}

/// Appends a frame.
fn frame(frames_sent: &mut Vec<u8>, kind: FrameKind, write: impl FnOnce(&mut WireWriter<'_>)) {
    let (mut header, mut payload) = ([0; HEADER_SIZE], [0; 3000]);
    let mut writer = WireWriter::new(&mut payload);
    write(&mut writer);
    let length = u32::try_from(writer.len()).expect("a length");
    Header { kind, id: 1, length }.encode(&mut WireWriter::new(&mut header)).expect("a header");
    frames_sent.extend_from_slice(&header);
    frames_sent.extend_from_slice(writer.written());
}
