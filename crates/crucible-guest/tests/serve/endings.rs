//! The end of the guest, which also ends its command.

use crucible_guest::protocol::{FrameKind, OnExit, PAYLOAD_MAX_TO_GUEST};

use super::guest::Guest;
use super::requests::ends;

/// A script that starts a child and continues when the child has left the session.
const LEAVE_SESSION: &str = "mkfifo left; \
    setsid sh -c 'echo >left; exec sleep 1000' >/dev/null 2>&1 & read line <left";

/// Encodes a header without validation.
fn header(length: u32, kind: u8, reserved: [u8; 3], id: u32) -> Vec<u8> {
    [&length.to_le_bytes()[..], &[kind], &reserved, &id.to_le_bytes()].concat()
}

#[test]
fn invalid_header_ends_guest_and_command() {
    let too_long = u32::try_from(PAYLOAD_MAX_TO_GUEST).unwrap() + 1;
    for bytes in [
        header(0, 0, [0; 3], 1),
        header(0, 255, [0; 3], 1),
        header(0, 12, [0; 3], 1),
        header(0, FrameKind::Exec as u8, [0, 0, 1], 1),
        header(too_long, FrameKind::Write as u8, [0; 3], 1),
        header(u32::MAX, FrameKind::Write as u8, [0; 3], 1),
    ] {
        let mut guest = Guest::start();
        let (_, pid) = guest.start_shell("sleep 1000; true", OnExit::KillBackground);
        guest.send_raw(&bytes);
        let status = guest.wait();
        assert_eq!(status.code(), Some(1), "{bytes:?}: {status}");
        ends(pid);
    }
}

#[test]
fn hang_up_ends_guest_and_command() {
    let mut guest = Guest::start();
    let (_, pid) =
        guest.start_shell("trap '' HUP TERM INT; sleep 1000; true", OnExit::KillBackground);
    guest.hang_up();
    assert!(guest.wait().success());
    ends(pid);
}

#[test]
fn hang_up_within_a_frame_ends_guest() {
    let whole = [&header(100, FrameKind::Write as u8, [0; 3], 1)[..], &[0; 50]].concat();
    for length in [1, 11, 12, 13, whole.len()] {
        let mut guest = Guest::start();
        let (_, pid) = guest.start_shell("sleep 1000; true", OnExit::KillBackground);
        guest.send_raw(&whole[..length]);
        guest.hang_up();
        assert!(guest.wait().success(), "{length} bytes");
        ends(pid);
    }
}

#[test]
fn hang_up_during_endless_output_ends_guest() {
    let mut guest = Guest::start();
    let (_, pid) = guest.start_shell("exec yes", OnExit::KillBackground);
    guest.hang_up();
    guest.wait();
    ends(pid);
}

#[test]
fn close_request_ends_guest_and_command() {
    let mut guest = Guest::start();
    let (_, pid) = guest.start_shell("sleep 1000; true", OnExit::KillBackground);
    guest.send(FrameKind::Close, &[]);
    assert!(guest.wait().success());
    ends(pid);
}

#[test]
fn sealed_command_ends_guest() {
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell("sleep 1000 & echo $!", OnExit::Seal);
    let ended = guest.finish(id);
    let pid: u32 = String::from_utf8_lossy(&ended.stdout).trim().parse().unwrap();
    assert_eq!(guest.next().kind, FrameKind::Empty);
    assert!(guest.wait().success());
    ends(pid);
}

/// A process that left the command's process group and session still becomes the guest's child.
#[test]
fn process_in_another_session_is_killed_too() {
    let script = format!("{LEAVE_SESSION}; echo $!");
    let mut guest = Guest::start();
    let (id, _) = guest.start_shell(&script, OnExit::KillBackground);
    let ended = guest.finish(id);
    let pid: u32 = String::from_utf8_lossy(&ended.stdout).trim().parse().unwrap();
    let empty = guest.next();
    assert_eq!((empty.kind, empty.id), (FrameKind::Empty, id));
    ends(pid);
    assert_eq!(guest.shell("exit 5").exited.wait_status, 5 << 8);
}

#[test]
fn hang_up_kills_process_in_another_session() {
    for on_exit in [OnExit::KillBackground, OnExit::KeepBackground] {
        let mut guest = Guest::start();
        let (id, _) = guest.start_shell(&format!("{LEAVE_SESSION}; echo $!; read line"), on_exit);
        let output = guest.next();
        assert_eq!(output.kind, FrameKind::Stdout);
        let pid: u32 = String::from_utf8_lossy(&output.payload).trim().parse().unwrap();
        if on_exit == OnExit::KeepBackground {
            guest.send(FrameKind::CloseStdin, &[]);
            guest.finish(id);
        }
        guest.hang_up();
        assert!(guest.wait().success());
        ends(pid);
    }
}
