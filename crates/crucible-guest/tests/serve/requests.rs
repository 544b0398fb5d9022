//! Encoded requests, and the state of processes.

use std::time::{Duration, Instant};

use crucible_guest::protocol::{Exec, OnExit, Overflow, Strings, WireWriter};

use super::guest::PATIENCE;

/// Encodes a message.
pub(crate) fn encode(write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = vec![0; 64 * 1024];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.written().to_vec()
}

/// Encodes a request to run a command in the guest's directory, with framed streams and a default
/// `PATH`.
pub(crate) fn exec(argv: &[&str], on_exit: OnExit, deadline_us: u64) -> Vec<u8> {
    let strings: String = argv.iter().flat_map(|argument| [argument, "\0"]).collect();
    let argv = Strings { count: u32::try_from(argv.len()).unwrap(), bytes: strings.as_bytes() };
    let env = Strings { count: 1, bytes: b"PATH=/usr/bin:/bin\0" };
    let request = Exec {
        stdio: 0,
        on_exit,
        status: true,
        quiet_us: 0,
        lend_mounts: false,
        deadline_us,
        rlimits: &[],
        directory: b".\0",
        argv,
        env,
    };
    encode(|writer| request.encode(writer))
}

/// Returns `true` if a process is alive. A zombie is not.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

/// Waits until a process has ended.
#[track_caller]
pub(crate) fn ends(pid: u32) {
    let began = Instant::now();
    while runs(pid) {
        assert!(began.elapsed() < PATIENCE, "process {pid} is still alive");
        std::thread::sleep(Duration::from_millis(2));
    }
}
