//! File requests, which never leave the guest's directory.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use crucible_guest::protocol::{
    Entries, EntryKind, Failure, FrameKind, ListRequest, OnExit, ReadRequest, Step, WriteRequest,
};

use super::guest::Guest;
use super::requests::encode;

const EINVAL: i32 = 22;
const EISDIR: i32 = 21;
const ENOENT: i32 = 2;

fn with_nul(path: &str) -> Vec<u8> {
    [path.as_bytes(), b"\0"].concat()
}

fn write(path: &str, data: &[u8], [first, last, quiet]: [bool; 3]) -> Vec<u8> {
    let path = with_nul(path);
    let request = WriteRequest { first, last, quiet, mode: 0o640, path: &path, data };
    let mut payload = encode(|writer| request.encode_head(writer));
    payload.extend_from_slice(data);
    payload
}

fn whole(path: &str, data: &[u8]) -> Vec<u8> {
    write(path, data, [true, true, false])
}

fn read(path: &str, offset: u64, length: u32) -> Vec<u8> {
    encode(|writer| ReadRequest { offset, length, path: &with_nul(path) }.encode(writer))
}

fn list(path: &str, cursor: u64) -> Vec<u8> {
    encode(|writer| ListRequest { cursor, path: &with_nul(path) }.encode(writer))
}

/// Waits for the `Done` frame of a request.
#[track_caller]
fn done(guest: &Guest, id: u32) {
    let frame = guest.next();
    assert_eq!((frame.kind, frame.id), (FrameKind::Done, id), "{frame:?}");
}

/// Creates a directory beside the guest's, with a file that no request may reach.
fn outside(guest: &Guest) -> PathBuf {
    let outside = guest.directory.with_extension("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "untouched").unwrap();
    outside
}

#[test]
fn file_is_written_in_pieces_and_replaces_another() {
    let mut guest = Guest::start();
    let id = guest.send(FrameKind::Write, &whole("a/b/file", b"first"));
    done(&guest, id);
    let id = guest.send(FrameKind::Write, &write("a/b/file", b"one ", [true, false, false]));
    guest.send_as(id, FrameKind::Write, &write("a/b/file", b"two ", [false, false, false]));
    guest.send_as(id, FrameKind::Write, &write("a/b/file", b"three", [false, true, false]));
    done(&guest, id);
    let path = guest.directory.join("a/b/file");
    assert_eq!(std::fs::read(&path).unwrap(), b"one two three");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    let stray = guest.send(FrameKind::Write, &write("a/b/file", b"!", [false, true, false]));
    assert_eq!(guest.failure(stray), Failure { step: Step::WRITE, errno: EINVAL });
    assert_eq!(std::fs::read(&path).unwrap(), b"one two three");
}

#[test]
fn file_is_read_from_any_offset() {
    let mut guest = Guest::start();
    let content: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    std::fs::write(guest.directory.join("file"), &content).unwrap();
    let (mut offset, mut found, mut last) = (0, Vec::new(), false);
    while !last {
        guest.send(FrameKind::Read, &read("file", offset, u32::MAX));
        let frame = guest.next();
        assert_eq!(frame.kind, FrameKind::Data);
        last = frame.payload[0] == 1;
        found.extend_from_slice(&frame.payload[1..]);
        offset = found.len() as u64;
    }
    assert!(found == content, "{} bytes", found.len());
    for (offset, length, wanted) in [
        (5, 3, &[&[0][..], &content[5..8]].concat()),
        (300_000, 9, &vec![1]),
        (1 << 40, 9, &vec![1]),
    ] {
        guest.send(FrameKind::Read, &read("file", offset, length));
        assert_eq!(&guest.next().payload, wanted, "{length} from {offset}");
    }
    // No file is that long (off_t).
    let id = guest.send(FrameKind::Read, &read("file", u64::MAX, 9));
    assert_eq!(guest.failure(id), Failure { step: Step::READ, errno: EINVAL });
}

#[test]
fn special_file_is_refused_without_delay() {
    let mut guest = Guest::start();
    assert_eq!(guest.shell("mkdir directory; mkfifo fifo; ln -s fifo link").exited.wait_status, 0);
    for (path, errno) in [("directory", EISDIR), ("fifo", EINVAL), ("missing", ENOENT)] {
        let id = guest.send(FrameKind::Read, &read(path, 0, 10));
        assert_eq!(guest.failure(id), Failure { step: Step::READ, errno }, "{path}");
    }
}

#[test]
fn directory_is_listed_completely() {
    let mut guest = Guest::start();
    assert_eq!(
        guest
            .shell("mkdir d d/sub; ln -s /etc/passwd d/link; printf 12345 > d/five")
            .exited
            .wait_status,
        0
    );
    let long = "n".repeat(200);
    for number in 0..2000 {
        std::fs::write(guest.directory.join(format!("d/{long}{number}")), "").unwrap();
    }
    let (mut cursor, mut found, mut answers) = (0, std::collections::BTreeMap::new(), 0);
    loop {
        guest.send(FrameKind::List, &list("d", cursor));
        let frame = guest.next();
        assert_eq!(frame.kind, FrameKind::Entries);
        let mut entries = Entries::decode(&frame.payload).unwrap();
        while let Some(entry) = entries.next_entry().unwrap() {
            let name = String::from_utf8_lossy(entry.name).into_owned();
            assert_eq!(found.insert(name, (entry.kind, entry.size)), None);
        }
        answers += 1;
        cursor = entries.next;
        if cursor == 0 {
            break;
        }
    }
    assert!(answers > 1, "one answer contains all entries");
    assert_eq!(found.len(), 2003);
    assert_eq!(found["sub"].0, EntryKind::Directory);
    assert_eq!(found["five"], (EntryKind::File, 5));
    assert_eq!(found["link"].0, EntryKind::Other);
}

#[test]
fn no_path_leaves_the_directory() {
    let mut guest = Guest::start();
    let outside = outside(&guest);
    let name = outside.file_name().unwrap().to_str().unwrap();
    symlink(&outside, guest.directory.join("dir")).unwrap();
    symlink("/etc/passwd", guest.directory.join("passwd")).unwrap();
    symlink(outside.join("secret"), guest.directory.join("secret")).unwrap();
    std::fs::create_dir(guest.directory.join("inner")).unwrap();
    let absolute = outside.join("secret").to_str().unwrap().to_owned();
    let up = format!("../{name}/secret");
    let down_and_up = format!("inner/../../{name}/secret");
    for path in [
        "/etc/passwd",
        "passwd",
        "secret",
        "dir/secret",
        "..",
        "inner/../..",
        &absolute,
        &up,
        &down_and_up,
    ] {
        let id = guest.send(FrameKind::Read, &read(path, 0, 100));
        assert_eq!(guest.failure(id).step, Step::READ, "{path}");
    }
    for path in ["/", "/etc", "dir", "..", "inner/..", "inner/../..", outside.to_str().unwrap()] {
        let id = guest.send(FrameKind::List, &list(path, 0));
        let found = guest.next();
        let stays = path == "inner/.." && found.kind == FrameKind::Entries;
        assert!(stays || found.kind == FrameKind::Failed, "{path}");
        assert_eq!(found.id, id);
    }
    let beyond = [
        "../x",
        "/x",
        "dir/x",
        "inner/../../x",
        "..",
        ".",
        "inner/..",
        "inner/",
        "",
        &absolute,
        &up,
    ];
    for path in beyond {
        let id = guest.send(FrameKind::Write, &whole(path, b"taken"));
        let failure = guest.failure(id);
        // A request with an empty path is malformed.
        assert_eq!(
            failure.step,
            if path.is_empty() { Step::REQUEST } else { Step::WRITE },
            "{path}"
        );
    }
    // A link at the path of a new file is replaced, and not followed.
    let id = guest.send(FrameKind::Write, &whole("secret", b"inside"));
    done(&guest, id);
    assert_eq!(std::fs::read(guest.directory.join("secret")).unwrap(), b"inside");
    assert!(guest.directory.join("secret").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_dir(outside.parent().unwrap()).unwrap().count(),
        2,
        "the guest's directory and the one outside"
    );
}

#[test]
fn failed_quiet_write_fails_the_next_command_once() {
    let mut guest = Guest::start();
    guest.send(FrameKind::Write, &write("good", b"1", [true, true, true]));
    let bad = guest.send(FrameKind::Write, &write("../bad", b"2", [true, true, true]));
    guest.send(FrameKind::Write, &write("later", b"3", [true, true, true]));
    guest.send(FrameKind::Write, &write("../worse", b"4", [true, true, true]));
    assert_eq!(guest.failure(bad).step, Step::WRITE);
    let command = guest.ask(&["/bin/sh", "-c", "exit 1"], OnExit::KillBackground);
    assert_eq!(guest.failure(command).step, Step::INPUT);
    assert_eq!(std::fs::read(guest.directory.join("good")).unwrap(), b"1");
    // The failure affects one command only.
    assert_eq!(guest.shell("cat good; exit 6").exited.wait_status, 6 << 8);
}
