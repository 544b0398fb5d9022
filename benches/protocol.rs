//! The time to encode and to decode frames of the guest protocol.

#![expect(clippy::expect_used, reason = "a failed step invalidates the benchmark")]

use std::hint::black_box;

use criterion::Criterion;
use crucible_guest::protocol::{
    Exec, Exited, FrameKind, HEADER_SIZE, Header, OnExit, PAYLOAD_MAX_TO_HOST, STDIO_PASSED,
    Strings, WireWriter,
};

/// The first and the last frame of a run: a command with its environment, and its end.
const ARGV: &[u8] = b"python3\0main.py\0--size\x001024\0";
const ENV: &[u8] = b"HOME=/box\0LANG=C.UTF-8\0PATH=/usr/bin:/bin\0TMPDIR=/tmp\0";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    exec(&mut criterion);
    exited(&mut criterion);
    criterion.final_summary();
}

/// Measures the request that starts a command.
fn exec(criterion: &mut Criterion) {
    let request = Exec {
        stdio: STDIO_PASSED,
        on_exit: OnExit::Seal,
        status: false,
        quiet_us: 1000,
        lend_mounts: false,
        deadline_us: 10_000_000,
        rlimits: &[0; 40],
        directory: b".\0",
        argv: Strings::new(4, ARGV).expect("four strings"),
        env: Strings::new(4, ENV).expect("four strings"),
    };
    let mut buffer = [0; 1024];
    criterion.bench_function("protocol/encode_exec", |bencher| {
        bencher.iter(|| {
            let mut writer = WireWriter::new(&mut buffer);
            black_box(&request).encode(&mut writer).expect("the buffer has room");
            writer.len()
        });
    });
    let mut writer = WireWriter::new(&mut buffer);
    request.encode(&mut writer).expect("the buffer has room");
    let payload = writer.written().to_vec();
    criterion.bench_function("protocol/decode_exec", |bencher| {
        bencher.iter(|| Exec::decode(black_box(&payload)).expect("the request is valid").stdio);
    });
}

/// Measures the frame that reports a command's end: its header and its payload.
fn exited(criterion: &mut Criterion) {
    let reply = Exited { empty: true, wall_us: 40_000, user_us: 30_000, ..Exited::default() };
    let mut buffer = [0; 128];
    let mut writer = WireWriter::new(&mut buffer);
    reply.encode(&mut writer).expect("the buffer has room");
    let payload = writer.written().to_vec();
    let length = u32::try_from(payload.len()).expect("the payload is small");
    let mut buffer = [0; HEADER_SIZE];
    let mut writer = WireWriter::new(&mut buffer);
    let header = Header { kind: FrameKind::Exited, id: 1, length };
    header.encode(&mut writer).expect("the buffer has room");
    criterion.bench_function("protocol/decode_exited", |bencher| {
        bencher.iter(|| {
            let header = Header::decode(black_box(&buffer), PAYLOAD_MAX_TO_HOST);
            let exited = Exited::decode(black_box(&payload)).expect("the reply is valid");
            (header.expect("the header is valid").length, exited.wall_us)
        });
    });
}
