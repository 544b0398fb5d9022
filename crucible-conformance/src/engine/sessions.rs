//! Cases on several commands in one sandbox.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crucible_core::{
    Command, EngineError, EntryKind, ExecOptions, FileReason, Limit, OnExit, OutputChunk,
    OutputSink, SandboxPath, Signal, Stdin, Verdict,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::support::{MIB, PATIENCE, Subject, exceeded, exec_stdout, open, sh, sh_with, slowness};

fn path(text: &str) -> SandboxPath {
    text.try_into().unwrap()
}

fn reason<T: std::fmt::Debug>(result: Result<T, EngineError>) -> FileReason {
    match result {
        Err(EngineError::File { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Commands share the file system. Each has its own environment and working directory.
pub async fn commands_share_one_file_system(engine: Subject) {
    let sandbox = open(&engine).await;
    exec_stdout(&sh(&*sandbox, "echo state > file; cd /tmp; export A=1").await);
    assert_eq!(
        exec_stdout(&sh(&*sandbox, "cat file; pwd; echo \"[$A]\"").await),
        "state\n/box\n[]\n"
    );
    let command = Command::new(["pwd"]).with_directory(path("."));
    assert_eq!(exec_stdout(&sandbox.exec(&command, ExecOptions::new()).await.unwrap()), "/box\n");
    sandbox.close().await.unwrap();
}

/// A background process outlives its command, and the next command can signal it.
pub async fn background_process_outlives_command(engine: Subject) {
    let sandbox = open(&engine).await;
    let start = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let pid = exec_stdout(&sh(&*sandbox, start).await).trim().to_owned();
    exec_stdout(&sh(&*sandbox, &format!("kill -0 {pid}")).await);
    exec_stdout(
        &sh(&*sandbox, &format!("kill {pid}; sleep 0.2; ! kill -0 {pid} 2>/dev/null")).await,
    );
    // A background process that holds the output open does not delay the command.
    let began = Instant::now();
    assert_eq!(exec_stdout(&sh(&*sandbox, "sleep 1000 & echo here").await), "here\n");
    assert!(
        began.elapsed() < Duration::from_secs(10) * slowness(),
        "it took {:?}",
        began.elapsed()
    );
    let exit =
        sh_with(&*sandbox, "exit 0", ExecOptions::new().with_on_exit(OnExit::KillBackground)).await;
    assert!(exit.verdict().is_success());
    // Only the counting shell remains, which starts no process, and process 1 if it is visible.
    let look = "n=0; for p in /proc/[0-9]*; do [ $p = /proc/1 ] || n=$((n+1)); done; echo $n";
    assert_eq!(exec_stdout(&sh(&*sandbox, look).await).trim(), "1");
    sandbox.close().await.unwrap();
}

/// Files can be written, read and listed, also in directories.
pub async fn files_can_be_written_read_and_listed(engine: Subject) {
    let sandbox = open(&engine).await;
    sandbox.write(&path("src/a.txt"), Bytes::from_static(b"one"), false).await.unwrap();
    sandbox
        .write(&path("src/run"), Bytes::from_static(b"#!/bin/sh\ncat src/a.txt\n"), true)
        .await
        .unwrap();
    assert_eq!(exec_stdout(&sh(&*sandbox, "src/run").await), "one");
    sandbox.write(&path("src/a.txt"), Bytes::from_static(b"two"), false).await.unwrap();
    exec_stdout(&sh(&*sandbox, "cat src/a.txt > out; echo three >> out; mkdir d").await);
    assert_eq!(sandbox.read(&path("out"), 100).await.unwrap(), "twothree\n");
    let mut entries = sandbox.list(&SandboxPath::root()).await.unwrap().entries;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = entries.iter().map(|entry| (&entry.name[..], entry.kind)).collect();
    assert_eq!(
        found,
        [
            (&b"d"[..], EntryKind::Directory),
            (b"out", EntryKind::File),
            (b"src", EntryKind::Directory)
        ]
    );
    assert_eq!(entries[1].size_bytes, 9);
    assert_eq!(reason(sandbox.read(&path("missing"), 1).await), FileReason::NotFound);
    assert_eq!(reason(sandbox.read(&path("src"), 1).await), FileReason::NotRegular);
    assert_eq!(reason(sandbox.read(&path("out"), 8).await), FileReason::TooLarge);
    assert_eq!(reason(sandbox.list(&path("out")).await), FileReason::NotDirectory);
    assert_eq!(reason(sandbox.write(&path("d"), Bytes::new(), false).await), FileReason::Exists);
    let much = Bytes::from(vec![0; 20 * 1024 * 1024]);
    assert_eq!(reason(sandbox.write(&path("much"), much, false).await), FileReason::NoSpace);
    sandbox.close().await.unwrap();
}

/// Writing to a link replaces it. Reading a link, and a link inside a path, are refused.
pub async fn links_are_not_followed(engine: Subject) {
    let sandbox = open(&engine).await;
    exec_stdout(
        &sh(&*sandbox, "ln -s /etc/passwd file; ln -s /tmp dir; ln -s .. up; echo x > /tmp/secret")
            .await,
    );
    assert_eq!(reason(sandbox.read(&path("file"), 9999).await), FileReason::Link);
    assert_eq!(reason(sandbox.read(&path("dir/secret"), 9999).await), FileReason::Link);
    assert_eq!(reason(sandbox.list(&path("dir")).await), FileReason::Link);
    assert_eq!(reason(sandbox.list(&path("up")).await), FileReason::Link);
    let text = Bytes::from_static(b"mine");
    assert!(matches!(
        reason(sandbox.write(&path("dir/new"), text.clone(), false).await),
        FileReason::Link | FileReason::NotFound
    ));
    sandbox.write(&path("file"), text, false).await.unwrap();
    assert_eq!(sandbox.read(&path("file"), 10).await.unwrap(), "mine");
    exec_stdout(&sh(&*sandbox, "test ! -e /tmp/new; test ! -L file").await);
    sandbox.close().await.unwrap();
}

/// Reading a FIFO without a writer does not block.
pub async fn fifo_read_does_not_block(engine: Subject) {
    let sandbox = open(&engine).await;
    exec_stdout(&sh(&*sandbox, "mkfifo fifo").await);
    let read = timeout(PATIENCE, sandbox.read(&path("fifo"), 10)).await.expect("reading ends");
    assert_eq!(reason(read), FileReason::NotRegular);
    sandbox.close().await.unwrap();
}

/// Files are accessible while a command runs.
pub async fn files_are_accessible_while_command_runs(engine: Subject) {
    let sandbox = open(&engine).await;
    let wait = sh(&*sandbox, "echo 1 > here; while [ ! -e go ]; do sleep 0.05; done; cat go");
    let files = async {
        while sandbox.read(&path("here"), 10).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sandbox.write(&path("go"), Bytes::from_static(b"went"), false).await.unwrap();
    };
    let (exit, ()) = tokio::join!(wait, files);
    assert_eq!(exec_stdout(&exit), "went");
    sandbox.close().await.unwrap();
}

/// Input can be streamed: the program answers each line before the next is sent.
pub async fn stdin_can_be_streamed(engine: Subject) {
    let sandbox = open(&engine).await;
    let (input, receiver) = mpsc::channel(1);
    let (sender, mut output) = mpsc::channel::<OutputChunk>(1);
    let io = ExecOptions::new()
        .with_stdin(Stdin::Stream(receiver))
        .with_output(OutputSink::none().with_channel(sender));
    let talk = async {
        for line in ["one\n", "two\n"] {
            input.send(Bytes::from(line)).await.unwrap();
            let piece = timeout(PATIENCE, output.recv()).await.expect("an answer arrives").unwrap();
            assert_eq!(piece.bytes, format!("got {line}"));
        }
        drop(input);
        assert_eq!(
            output.recv().await.map(|piece| piece.bytes),
            Some(Bytes::from_static(b"bye\n"))
        );
    };
    let script = "while read line; do echo \"got $line\"; done; echo bye";
    let (exit, ()) = tokio::join!(sh_with(&*sandbox, script, io), talk);
    assert_eq!(exec_stdout(&exit), "got one\ngot two\nbye\n");
    sandbox.close().await.unwrap();
}

/// A command receives signals and can handle them.
pub async fn signals_reach_the_command(engine: Subject) {
    let sandbox = open(&engine).await;
    let (signals, receiver) = mpsc::channel(1);
    let (sender, mut output) = mpsc::channel::<OutputChunk>(8);
    let io = ExecOptions::new()
        .with_signals(receiver)
        .with_output(OutputSink::none().with_channel(sender));
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let interrupt = async {
        assert_eq!(output.recv().await.unwrap().bytes, "ready\n");
        signals.send(Signal::TERM).await.unwrap();
        while output.recv().await.is_some() {}
    };
    let (exit, ()) = tokio::join!(sh_with(&*sandbox, script, io), interrupt);
    assert_eq!(exit.verdict(), Verdict::Exited { code: 9 });
    assert_eq!(exit.stdout.to_text(), "ready\ncaught\n");
    sandbox.close().await.unwrap();
}

/// Cancelling a command leaves the sandbox, its files, and background processes intact.
pub async fn cancelled_command_keeps_sandbox_usable(engine: Subject) {
    let sandbox = open(&engine).await;
    exec_stdout(
        &sh(&*sandbox, "echo kept > file; sleep 1000 >/dev/null 2>&1 & echo $! > pid").await,
    );
    let cancel = CancellationToken::new();
    let io = ExecOptions::new().with_cancel(cancel.clone());
    let soon = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    };
    let (exit, ()) = tokio::join!(sh_with(&*sandbox, "echo begun; sleep 1000", io), soon);
    assert_eq!(exit.verdict(), Verdict::Cancelled);
    assert_eq!(exit.stdout.to_text(), "begun\n");
    assert_eq!(exec_stdout(&sh(&*sandbox, "cat file; kill -0 $(cat pid)").await), "kept\n");
    sandbox.close().await.unwrap();
}

/// A limit ends the command and not the sandbox.
pub async fn command_at_limit_keeps_sandbox_usable(engine: Subject) {
    let sandbox = open(&engine).await;
    let io = ExecOptions::new().with_wall(Duration::from_millis(300));
    assert_eq!(sh_with(&*sandbox, "sleep 1000", io).await.verdict(), exceeded(Limit::Wall));
    let io = ExecOptions::new().with_output_bytes(1000);
    assert_eq!(sh_with(&*sandbox, "yes", io).await.verdict(), exceeded(Limit::Output));
    assert_eq!(exec_stdout(&sh(&*sandbox, "echo still here").await), "still here\n");
    sandbox.close().await.unwrap();
}

/// A file that is larger than every frame and buffer is written and read unchanged.
pub async fn large_file_round_trips_unchanged(engine: Subject) {
    let sandbox = open(&engine).await;
    let content: Bytes =
        (0..7_000_001_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    sandbox.write(&path("large"), content.clone(), false).await.unwrap();
    exec_stdout(&sh(&*sandbox, "cp large copy").await);
    assert_eq!(sandbox.read(&path("copy"), 8 * MIB).await.unwrap(), content);
    sandbox.close().await.unwrap();
}

/// Closing ends all processes, including ones that ignore signals.
pub async fn close_ends_all_processes(engine: Subject) {
    let sandbox = open(&engine).await;
    exec_stdout(
        &sh(
            &*sandbox,
            "trap '' TERM HUP INT; for i in 1 2 3; do setsid sleep 1000 >/dev/null 2>&1 & done",
        )
        .await,
    );
    timeout(PATIENCE, sandbox.close()).await.expect("the close ends").unwrap();
}

/// CPU time and output count for each command separately.
pub async fn limits_are_counted_per_command(engine: Subject) {
    let sandbox = open(&engine).await;
    for _ in 0..3 {
        let io = ExecOptions::new().with_output_bytes(10_000).with_cpu(Duration::from_secs(5));
        assert_eq!(
            exec_stdout(&sh_with(&*sandbox, "head -c 9000 /dev/zero", io).await).len(),
            9000
        );
    }
    sandbox.close().await.unwrap();
}
