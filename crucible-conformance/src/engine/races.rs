//! Cases on files that change during a read or a collection, and on too many files.

use std::time::Instant;

use crucible_core::{
    Collect, Command, Digest, EngineError, Evaluation, ExecOptions, FileReason, SandboxPath,
};
use tokio::time::timeout;

use super::support::{
    MIB, PATIENCE, Subject, exec_stdout, limits, open, run, sh, slowness, slowness_of, stdout_of,
};

/// The number of times that a case must observe each outcome of a race.
const TRIES: usize = 20;

fn path(text: &str) -> SandboxPath {
    text.try_into().unwrap()
}

/// The collection takes files up to its bound, and its list of skipped files is bounded as well.
pub async fn excess_files_are_skipped_with_bounded_report(engine: Subject) {
    // An emulated machine takes minutes to create and to remove the files.
    let count = 100_000 / slowness_of(&engine);
    let source = format!("for n in range({count}): open(f'f{{n:06}}', 'w').close()");
    // The kernel uses more than 1 KiB for each file.
    let limits =
        limits().with_inodes(110_000).with_memory_bytes(512 * MIB).with_disk_bytes(64 * MIB);
    let collect = Collect::matching(["f*"]).with_files_max(100);
    let evaluation = Evaluation::python(source).with_limits(limits).with_collect(collect);
    let outcome = timeout(PATIENCE * slowness(), run(&engine, &evaluation))
        .await
        .expect("the collection ends");
    stdout_of(&outcome);
    assert_eq!(outcome.artifacts.len(), 100);
    assert!(!outcome.skipped.is_empty(), "the skipped files are listed");
    assert!(outcome.skipped.len() <= 1000, "{} skipped files are listed", outcome.skipped.len());
}

/// A file that a background process appends to is read within the bounds, and its hash matches its
/// content.
pub async fn growing_file_is_read_within_bounds(engine: Subject) {
    let sandbox = open(&engine).await;
    let grow = "while :; do head -c 65536 /dev/zero >> log || : > log; done >/dev/null 2>&1 & \
                while [ ! -s log ]; do sleep 0.01; done";
    exec_stdout(&sh(&*sandbox, grow).await);
    let mut read = 0;
    for _ in 0..20 {
        match timeout(PATIENCE, sandbox.read(&path("log"), MIB)).await.expect("the read ends") {
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
    assert!(read > 0, "the file was never small enough to be read");
    sandbox.close().await.unwrap();
    let script = "while :; do head -c 4096 /dev/zero >> log || : > log; done >/dev/null 2>&1 & \
                  while [ ! -s log ]; do sleep 0.01; done";
    let collect = Collect::matching(["log"]).with_bytes_max(MIB);
    let outcome =
        run(&engine, &Evaluation::shell(script).with_limits(limits()).with_collect(collect)).await;
    for artifact in &outcome.artifacts {
        let content = artifact.content.as_ref().unwrap();
        assert_eq!(
            (artifact.size_bytes, artifact.sha256),
            (content.len() as u64, Digest::of(content))
        );
    }
}

/// A directory that a program swaps for a link is not followed.
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
# RENAME_EXCHANGE keeps one of the two in place at every moment.
# Without the call, both are missing at times.
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
    // With few CPUs the program swaps in bursts, so that the case continues until it has seen both
    // sides.
    while (own < TRIES || links < TRIES) && began.elapsed() < PATIENCE {
        let listed =
            timeout(PATIENCE, sandbox.list(&path("place"))).await.expect("the listing ends");
        match listed {
            Ok(listing) => {
                let names: Vec<String> =
                    listing.entries.iter().map(|entry| entry.display_name().to_string()).collect();
                assert_eq!(names, ["own"], "the listing is of another directory");
                own += 1;
            }
            Err(EngineError::File { reason: FileReason::Link, .. }) => links += 1,
            Err(EngineError::File { reason: FileReason::NotFound, .. }) => {}
            Err(error) => panic!("{}", crucible_core::error_chain(&error)),
        }
        let read = sandbox.read(&path("place/passwd"), MIB).await;
        assert!(read.is_err(), "a file outside of the directory was read");
    }
    assert!(own > 0 && links > 0, "one side was not seen: {own} directories, {links} links");
    sandbox.close().await.unwrap();
}

/// A device file is not collected, if the program can create one at all.
pub async fn device_file_is_not_collected(engine: Subject) {
    let script = "mknod zero c 1 5 2>/dev/null && echo made; echo x > file";
    let collect = Collect::matching(["*"]);
    let outcome =
        run(&engine, &Evaluation::shell(script).with_limits(limits()).with_collect(collect)).await;
    stdout_of(&outcome);
    assert!(outcome.artifacts.iter().any(|artifact| artifact.path.as_str() == "file"));
    assert!(
        outcome.artifacts.iter().all(|artifact| artifact.path.as_str() != "zero"),
        "a device was collected"
    );
}
