//! Commands: their start, their end, and the reports of both.

use crucible_guest::protocol::{
    ExecFailed, Exited, Failure, FrameKind, OnExit, PAYLOAD_MAX_TO_GUEST, ProcUsage, Started, Step,
};

use super::guest::Guest;
use super::requests::{encode, ends, exec, runs};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const EPROTO: i32 = 71;

fn signal(number: i32, everything: bool) -> Vec<u8> {
    encode(|writer| writer.i32(number).and_then(|()| writer.u8(u8::from(everything))))
}

#[test]
fn exit_code_is_reported_and_guest_continues() {
    let mut guest = Guest::start();
    for code in [3, 0, 255, 124] {
        let ended = guest.shell(&format!("exit {code}"));
        assert_eq!(ended.exited.wait_status, code << 8);
        assert!(ended.exited.empty && !ended.exited.deadline);
        assert_eq!(ended.exited.survivors, 0);
        assert!((ended.stdout, ended.stderr) == (Vec::new(), Vec::new()));
    }
}

#[test]
fn requested_status_is_the_commands_own() {
    let mut guest = Guest::start();
    let id = guest.ask(&["sleep", "0"], OnExit::KillBackground);
    let frame = guest.next();
    assert_eq!(frame.kind, FrameKind::Started);
    let started = Started::decode(&frame.payload).unwrap();
    let status = String::from_utf8_lossy(started.status).into_owned();
    // Not the name: the kernel changes it after execve(2) has let the guest continue.
    assert!(status.contains(&format!("Pid:\t{}\n", started.pid)), "{status}");
    assert_eq!(guest.finish(id).exited.wait_status, 0);
}

#[test]
fn signal_kills_a_sleeping_command_and_its_group() {
    let mut guest = Guest::start();
    for (number, everything) in [(15, false), (9, false), (9, true)] {
        let (id, pid) = guest.start_shell("sleep 1000; true", OnExit::KillBackground);
        guest.send(FrameKind::Signal, &signal(number, everything));
        let ended = guest.finish_all(id);
        assert_eq!(ended.exited.wait_status & 0x7f, number);
        ends(pid);
    }
}

#[test]
fn invalid_signal_is_refused() {
    let mut guest = Guest::start();
    for number in [0, -1, 65, i32::MIN, i32::MAX] {
        let id = guest.send(FrameKind::Signal, &signal(number, false));
        assert_eq!(guest.failure(id), Failure { step: Step::REQUEST, errno: EINVAL });
    }
    let id = guest.send(FrameKind::Signal, &signal(15, false)[..4]);
    assert_eq!(guest.failure(id), Failure { step: Step::REQUEST, errno: EPROTO });
    guest.send(FrameKind::Signal, &signal(15, false));
    guest.send(FrameKind::Signal, &signal(15, true));
    assert_eq!(guest.shell("exit 4").exited.wait_status, 4 << 8);
}

#[test]
fn second_command_is_refused_and_first_continues() {
    let mut guest = Guest::start();
    let (first, pid) = guest.start_shell("read line; exit 5", OnExit::KillBackground);
    let second = guest.ask(&["/bin/sh", "-c", "exit 6"], OnExit::KillBackground);
    assert_eq!(guest.failure(second), Failure { step: Step::BUSY, errno: EBUSY });
    assert!(runs(pid));
    guest.send(FrameKind::CloseStdin, &[]);
    assert_eq!(guest.finish(first).exited.wait_status, 5 << 8);
}

#[test]
fn exec_failure_is_reported_with_its_error_number() {
    let mut guest = Guest::start();
    std::fs::write(guest.directory.join("text"), "no program").unwrap();
    for (program, errno) in [
        ("/no/such/program", ENOENT),
        ("no-such-program", ENOENT),
        ("./text", EACCES),
        ("/", EACCES),
    ] {
        let id = guest.ask(&[program], OnExit::KillBackground);
        let frame = guest.next();
        assert_eq!((frame.kind, frame.id), (FrameKind::ExecFailed, id), "{program}");
        let failure = Failure { step: Step::TARGET_EXEC, errno };
        assert_eq!(ExecFailed::decode(&frame.payload).unwrap(), ExecFailed(failure), "{program}");
    }
    assert_eq!(guest.shell("exit 7").exited.wait_status, 7 << 8);
}

#[test]
fn guest_kills_a_command_at_its_deadline() {
    let mut guest = Guest::start();
    let id = guest.send(FrameKind::Exec, &exec(&["sleep", "1000"], OnExit::KillBackground, 50_000));
    guest.started(id);
    let Exited { wait_status, deadline, wall_us, .. } = guest.finish(id).exited;
    assert_eq!((wait_status & 0x7f, deadline), (9, true));
    assert!((50_000..15_000_000).contains(&wall_us), "{wall_us}");
}

#[test]
fn background_process_is_killed_if_requested() {
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell("sleep 1000 & echo $!", OnExit::KillBackground);
    let ended = guest.finish(id);
    assert_eq!((ended.exited.wait_status, ended.exited.empty), (0, false));
    let empty = guest.next();
    assert_eq!((empty.kind, empty.id), (FrameKind::Empty, id));
    assert_eq!(empty.payload, 1_u32.to_le_bytes());
    assert!(!runs(background_pid(&ended.stdout)));
    assert_eq!(guest.shell("exit 8").exited.wait_status, 8 << 8);
}

#[test]
fn background_process_continues_if_requested() {
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell("sleep 1000 & echo $!", OnExit::KeepBackground);
    let pid = background_pid(&guest.finish(id).stdout);
    assert!(runs(pid));
    // The end of the next command does not affect the background process of an earlier one.
    let (id, _) = guest.start_shell(&format!("kill {pid}; exit 9"), OnExit::KeepBackground);
    assert_eq!(guest.finish(id).exited.wait_status, 9 << 8);
    ends(pid);
}

fn background_pid(stdout: &[u8]) -> u32 {
    String::from_utf8_lossy(stdout).trim().parse().unwrap()
}

#[test]
fn malformed_request_is_refused_and_guest_continues() {
    let mut guest = Guest::start();
    let sound = exec(&["/bin/sh", "-c", "exit 1"], OnExit::KillBackground, 0);
    let with_more = [&sound[..], &[0]].concat();
    let payloads = [&[][..], &[0xff; 64], &sound[..sound.len() - 1], &with_more];
    for kind in [FrameKind::Exec, FrameKind::Write, FrameKind::Read, FrameKind::List] {
        for payload in payloads {
            // A write request may contain any content. These requests have invalid paths.
            let id = guest.send(kind, payload);
            assert_eq!(
                guest.failure(id),
                Failure { step: Step::REQUEST, errno: EPROTO },
                "{kind:?}"
            );
        }
    }
    for kind in [FrameKind::Ready, FrameKind::Stdout, FrameKind::Exited, FrameKind::Opened] {
        let id = guest.send(kind, &[]);
        assert_eq!(guest.failure(id), Failure { step: Step::REQUEST, errno: EPROTO }, "{kind:?}");
    }
    let id = guest.send(FrameKind::Exec, &vec![0xff; PAYLOAD_MAX_TO_GUEST]);
    assert_eq!(guest.failure(id), Failure { step: Step::REQUEST, errno: EPROTO });
    assert_eq!(guest.shell("exit 2").exited.wait_status, 2 << 8);
}

#[test]
fn missing_descriptors_are_refused() {
    let mut guest = Guest::start();
    let mut passed = exec(&["/bin/sh"], OnExit::KillBackground, 0);
    // Pipes carry no descriptors.
    passed[0] = crucible_guest::protocol::STDIO_PASSED;
    let id = guest.send(FrameKind::Exec, &passed);
    assert_eq!(guest.failure(id), Failure { step: Step::REQUEST, errno: EPROTO });
}

#[test]
fn usage_is_measured_on_request() {
    let mut guest = Guest::start();
    let id = guest.send(FrameKind::Measure, &[]);
    let frame = guest.next();
    assert_eq!((frame.kind, frame.id), (FrameKind::Usage, id));
    assert!(ProcUsage::decode(&frame.payload).is_ok());
}
