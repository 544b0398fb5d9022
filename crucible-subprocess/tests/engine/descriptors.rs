//! Tests that sandboxes inherit neither descriptors nor environment variables of the host.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use super::runs::{printed, python, run, without};
use super::support::descendants;
use crucible_core::{Evaluation, Limits};

/// Prints the open descriptors of the program, without the descriptor of the listing.
const LIST: &str = "
import os
def is_open(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False
print(*sorted(int(name) for name in os.listdir('/proc/self/fd') if is_open(int(name))))";

/// Duplicates a descriptor as inheritable, with a number of at least `least`.
fn inheritable(fd: impl AsFd, least: i32) -> OwnedFd {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, least).unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    assert!(copy.as_raw_fd() >= least);
    copy
}

/// Opens a file, a listener and a socket as inheritable descriptors with low and high numbers.
fn leak() -> Vec<OwnedFd> {
    let file = File::open("/proc/self/status").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let mut leaked = Vec::new();
    for least in [0, 20, 100, 255, 256, 400, 900] {
        leaked.push(inheritable(&file, least));
        leaked.push(inheritable(&listener, least));
        leaked.push(inheritable(&socket, least));
    }
    leaked
}

#[test]
fn child_of_host_inherits_leaked_descriptors() {
    // The control of the tests below.
    let leaked = leak();
    let output =
        std::process::Command::new("/usr/bin/python3").args(["-c", LIST]).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let found: Vec<i32> = found.split_whitespace().map(|number| number.parse().unwrap()).collect();
    for fd in &leaked {
        assert!(found.contains(&fd.as_raw_fd()), "{} in {found:?}", fd.as_raw_fd());
    }
}

#[test]
fn programs_have_only_three_descriptors() {
    let _before = leak();
    let engine = without(&[]);
    let _after = leak();
    for _ in 0..3 {
        assert_eq!(python(&engine, &Limits::new(), LIST), "0 1 2");
    }
    let list = "for name in /proc/self/fd/*; do [ -e $name ] && echo ${name##*/}; done; true";
    // The shell has closed the directory when it tests the names.
    assert_eq!(printed(&run(&engine, &Evaluation::command(["sh", "-c", list]))), "0\n1\n2");
}

/// The spawner, the parent of every sandbox, inherits no descriptor either.
#[test]
fn spawner_inherits_no_descriptors() {
    let file = File::open("/proc/self/status").unwrap();
    let marker = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let _before = inheritable(&file, 300);
    let engine = without(&[]);
    let own = i32::try_from(std::process::id()).unwrap();
    let spawners: Vec<_> = descendants(own)
        .into_iter()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("crucible"))
        })
        .collect();
    assert!(!spawners.is_empty());
    for pid in spawners {
        // An ordinary user cannot read the descriptors of its spawner, which is undumpable.
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            assert_ne!(target, marker, "descriptor {:?} of {pid}", entry.file_name());
        }
    }
    drop(engine);
}

#[test]
fn programs_have_no_variables_of_host() {
    let host = std::env::vars().map(|(name, _)| name).collect::<Vec<_>>();
    assert!(!host.is_empty(), "the host has variables");
    let engine = without(&[]);
    let evaluation = Evaluation::command(["/usr/bin/env"]).with_env("GIVEN", "value");
    let found = printed(&run(&engine, &evaluation));
    let mut names: Vec<_> =
        found.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert!(names.contains(&"GIVEN"), "{found}");
    // The variables that every program gets.
    let usual =
        ["GIVEN", "HOME", "LANG", "LC_ALL", "PATH", "PWD", "SHLVL", "TERM", "TMPDIR", "USER", "_"];
    for name in names {
        assert!(usual.contains(&name), "{found}");
    }
    for (name, value) in std::env::vars() {
        // Short values and common paths do not identify the host.
        if value.len() > 12 && !["PATH", "HOME", "LANG", "TERM"].contains(&name.as_str()) {
            assert!(!found.contains(&value), "{name}: {found}");
        }
    }
}
