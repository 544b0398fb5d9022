//! Framed standard streams.

use crucible_guest::protocol::{Failure, FrameKind, OnExit, Step};

use super::guest::Guest;
use super::requests::encode;

const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const EPIPE: i32 = 32;
/// The maximum size of input in one frame.
const PIECE: usize = 64 * 1024;

fn lines(count: u32) -> Vec<u8> {
    (1..=count).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

#[test]
fn both_outputs_arrive_complete_and_in_order() {
    let mut guest = Guest::start();
    let ended = guest.shell("seq 1 20000 >&2 & seq 1 100000; wait; exit 3");
    assert_eq!(ended.exited.wait_status, 3 << 8);
    assert!(ended.stdout == lines(100_000), "{} bytes", ended.stdout.len());
    assert!(ended.stderr == lines(20_000), "{} bytes", ended.stderr.len());
}

#[test]
fn output_right_before_the_end_is_not_lost() {
    let mut guest = Guest::start();
    for _ in 0..50 {
        let ended = guest.shell("printf out; printf err >&2; kill -KILL $$");
        assert_eq!(ended.exited.wait_status & 0x7f, 9);
        assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"out"[..], &b"err"[..]));
    }
}

#[test]
fn input_passes_through_a_command() {
    let mut guest = Guest::start();
    let input = lines(50_000);
    let (id, _) = guest.start_shell("cat; exit 7", OnExit::KillBackground);
    let mut output = Vec::new();
    for piece in input.chunks(PIECE) {
        let request = guest.send(FrameKind::Stdin, piece);
        loop {
            let frame = guest.next();
            match frame.kind {
                FrameKind::Stdout => output.extend(frame.payload),
                FrameKind::Done => {
                    assert_eq!(frame.id, request);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    guest.send(FrameKind::CloseStdin, &[]);
    let ended = guest.finish(id);
    output.extend(ended.stdout);
    assert_eq!(ended.exited.wait_status, 7 << 8);
    assert!(output == input, "{} of {} bytes", output.len(), input.len());
}

#[test]
fn pending_input_precedes_end_of_input() {
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell("sleep 0.2; wc -c", OnExit::KillBackground);
    let first = guest.send(FrameKind::Stdin, &[b'x'; PIECE]);
    assert_eq!((guest.next().id, first), (first, first));
    let second = guest.send(FrameKind::Stdin, &[b'y'; PIECE]);
    guest.send(FrameKind::CloseStdin, &[]);
    let done = guest.next();
    assert_eq!((done.kind, done.id), (FrameKind::Done, second));
    let ended = guest.finish(id);
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), (2 * PIECE).to_string());
}

#[test]
fn command_that_does_not_read_delays_nothing() {
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell("exec sleep 1000", OnExit::KillBackground);
    let fits = guest.send(FrameKind::Stdin, &[b'x'; PIECE]);
    let done = guest.next();
    assert_eq!((done.kind, done.id), (FrameKind::Done, fits));
    let waits = guest.send(FrameKind::Stdin, &[b'x'; PIECE]);
    let too_early = guest.send(FrameKind::Stdin, b"more");
    assert_eq!(guest.failure(too_early), Failure { step: Step::STREAMS, errno: EBUSY });
    let kill = encode(|writer| writer.i32(9).and_then(|()| writer.u8(0)));
    guest.send(FrameKind::Signal, &kill);
    // The pending input has no reader now. The guest reports that if it notices before the
    // command's end.
    let mut frame = guest.next();
    if frame.kind == FrameKind::Failed {
        assert_eq!(frame.id, waits);
        frame = guest.next();
    }
    assert_eq!((frame.kind, frame.id), (FrameKind::Exited, id));
    // The pending input is discarded with its command. The next command receives only its own.
    let (id, _) = guest.start_shell("cat", OnExit::KillBackground);
    let own = guest.send(FrameKind::Stdin, b"own");
    guest.send(FrameKind::CloseStdin, &[]);
    let mut frame = guest.next();
    let mut early = Vec::new();
    while frame.kind == FrameKind::Stdout {
        early.extend(frame.payload);
        frame = guest.next();
    }
    assert_eq!((frame.kind, frame.id), (FrameKind::Done, own));
    let ended = guest.finish(id);
    early.extend(ended.stdout);
    assert_eq!(early, b"own");
}

#[test]
fn input_without_reader_or_too_long_is_refused() {
    let mut guest = Guest::start();
    let id = guest.send(FrameKind::Stdin, b"x");
    assert_eq!(guest.failure(id), Failure { step: Step::STREAMS, errno: EPIPE });
    let (command, _) = guest.start_shell("cat; exit 1", OnExit::KillBackground);
    let id = guest.send(FrameKind::Stdin, &vec![0; PIECE + 1]);
    assert_eq!(guest.failure(id), Failure { step: Step::STREAMS, errno: EINVAL });
    guest.send(FrameKind::CloseStdin, &[]);
    let id = guest.send(FrameKind::Stdin, b"x");
    assert_eq!(guest.failure(id), Failure { step: Step::STREAMS, errno: EPIPE });
    assert_eq!(guest.finish(command).exited.wait_status, 1 << 8);
}

#[test]
fn closed_input_fails_that_input_only() {
    let mut guest = Guest::start();
    let (id, _) =
        guest.start_shell("exec <&-; echo closed; exec sleep 1000", OnExit::KillBackground);
    let output = guest.next();
    assert_eq!((output.kind, &output.payload[..]), (FrameKind::Stdout, &b"closed\n"[..]));
    let input = guest.send(FrameKind::Stdin, b"x");
    assert_eq!(guest.failure(input), Failure { step: Step::STREAMS, errno: EPIPE });
    let kill = encode(|writer| writer.i32(9).and_then(|()| writer.u8(0)));
    guest.send(FrameKind::Signal, &kill);
    assert_eq!(guest.finish(id).exited.wait_status & 0x7f, 9);
}
