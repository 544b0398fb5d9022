//! Files that change while they come out, and too many of them.

use std::time::Instant;

use crucible_core::{
    Collect, Command, Digest, EngineError, Evaluation, ExecOptions, FileReason, SandboxPath,
};
use tokio::time::timeout;

use super::support::{MIB, PATIENCE, Subject, limits, open, run, stdout_of, sh, slowness, slowness_of, exec_stdout};

/// How often each side of a race must be seen.
const TRIES: usize = 20;

fn path(text: &str) -> SandboxPath {
    text.try_into().unwrap()
}

/// The first so many come out, and the report of the rest has an end too.
pub async fn excess_files_are_skipped_with_bounded_report(engine: Subject) {
    // An emulated machine takes minutes to make them, and as long to forget them.
    let count = 100_000 / slowness_of(&engine);
    let source = format!("for n in range({count}): open(f'f{{n:06}}', 'w').close()");
    // The kernel keeps more than a KiB for each of them.
    let limits = limits().with_inodes(110_000).with_memory_bytes(512 * MIB).with_disk_bytes(64 * MIB);
    let collect = Collect::matching(["f*"]).with_files_max(100);
    let evaluation = Evaluation::python(source).with_limits(limits).with_collect(collect);
    let outcome = timeout(PATIENCE * slowness(), run(&engine, &evaluation)).await.expect("collecting ends");
    stdout_of(&outcome);
    assert_eq!(outcome.artifacts.len(), 100);
    assert!(!outcome.skipped.is_empty(), "what did not come out is told");
    assert!(outcome.skipped.len() <= 1000, "{} lines on what did not come out", outcome.skipped.len());
}

/// Somebody in the background writes without end: what comes out is within its bounds, and whole by its own hash.
pub async fn growing_file_is_read_within_bounds(engine: Subject) {
    let sandbox = open(&engine).await;
    let grow = "while :; do head -c 65536 /dev/zero >> log || : > log; done >/dev/null 2>&1 & \
                while [ ! -s log ]; do sleep 0.01; done";
    exec_stdout(&sh(&*sandbox, grow).await);
    let mut read = 0;
    for _ in 0..20 {
        match timeout(PATIENCE, sandbox.read(&path("log"), MIB)).await.expect("reading ends") {
            Ok(content) => {
                assert!(content.len() as u64 <= MIB, "{} bytes", content.len());
                read += 1;
            }
            Err(EngineError::File { reason: FileReason::TooLarge, .. }) => {
                exec_stdout(&sh(&*sandbox, ": > log").await);
            }
            Err(error) => panic!("{}", crucible_core::error_chain(&error)),
        }
    }
    assert!(read > 0, "it was never small enough to be read");
    sandbox.close().await.unwrap();
    let script = "while :; do head -c 4096 /dev/zero >> log || : > log; done >/dev/null 2>&1 & \
                  while [ ! -s log ]; do sleep 0.01; done";
    let collect = Collect::matching(["log"]).with_bytes_max(MIB);
    let outcome = run(&engine, &Evaluation::shell(script).with_limits(limits()).with_collect(collect)).await;
    for artifact in &outcome.artifacts {
        let content = artifact.content.as_ref().unwrap();
        assert_eq!((artifact.size_bytes, artifact.sha256), (content.len() as u64, Digest::of(content)));
    }
}

/// A directory that is a link at the next moment leads nowhere else.
pub async fn directory_swapped_for_link_is_not_followed(engine: Subject) {
    let sandbox = open(&engine).await;
    let source = "
import os, ctypes
os.mkdir('place')
open('place/own', 'w').close()
os.symlink('/etc', 'link')
if os.fork():
    os._exit(0)
os.close(0); os.close(1); os.close(2)
rename = ctypes.CDLL(None).renameat2
# RENAME_EXCHANGE: at every moment there is one of the two. Where there is no such call, there is neither at times.
while rename(-100, b'place', -100, b'link', 2) == 0:
    pass
while True:
    for old, new in (('place', 'other'), ('link', 'place'), ('place', 'link'), ('other', 'place')):
        os.rename(old, new)
";
    sandbox.write(&path("swap.py"), source.into(), false).await.unwrap();
    let command = Command::new(["python3", "swap.py"]);
    exec_stdout(&sandbox.exec(&command, ExecOptions::new()).await.unwrap());
    let (mut own, mut links) = (0, 0);
    let began = Instant::now();
    // Where CPUs are few, it swaps in bursts: until both were seen.
    while (own < TRIES || links < TRIES) && began.elapsed() < PATIENCE {
        let listed = timeout(PATIENCE, sandbox.list(&path("place"))).await.expect("listing ends");
        match listed {
            Ok(listing) => {
                let names: Vec<String> = listing.entries.iter().map(|entry| entry.display_name().to_string()).collect();
                assert_eq!(names, ["own"], "that is no directory of the program's");
                own += 1;
            }
            Err(EngineError::File { reason: FileReason::Link, .. }) => links += 1,
            Err(EngineError::File { reason: FileReason::NotFound, .. }) => {}
            Err(error) => panic!("{}", crucible_core::error_chain(&error)),
        }
        let read = sandbox.read(&path("place/passwd"), MIB).await;
        assert!(read.is_err(), "a file of another place was read");
    }
    assert!(own > 0 && links > 0, "never the one ({own}) or never the other ({links})");
    sandbox.close().await.unwrap();
}

/// A device is not made; where it could be, it does not come out.
pub async fn device_file_is_not_collected(engine: Subject) {
    let script = "mknod zero c 1 5 2>/dev/null && echo made; echo x > file";
    let collect = Collect::matching(["*"]);
    let outcome = run(&engine, &Evaluation::shell(script).with_limits(limits()).with_collect(collect)).await;
    stdout_of(&outcome);
    assert!(outcome.artifacts.iter().any(|artifact| artifact.path.as_str() == "file"));
    assert!(outcome.artifacts.iter().all(|artifact| artifact.path.as_str() != "zero"), "a device came out");
}
