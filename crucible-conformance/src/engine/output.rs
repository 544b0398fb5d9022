//! Cases on the output of a program.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crucible_core::{
    DigestStream, Evaluation, OutputChunk, OutputSink, OutputStream, RunContext, Verdict,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::support::{
    MIB, PATIENCE, Subject, assert_verdict, limits, program, run, run_in, slowness, stdout_of,
};

/// Of 200 MiB, the capture keeps both ends in 64 KiB. Count and hash cover every byte.
pub async fn large_output_is_counted_exactly(engine: Subject) {
    let evaluation = Evaluation::python(program!("much_output.py"))
        .with_limits(limits().with_output_bytes(300 * MIB))
        .with_capture_bytes(64 * 1024);
    let outcome = run(&engine, &evaluation).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 0 });
    let stdout = &outcome.stdout;
    assert_eq!(stdout.total_bytes, 200 * MIB + 7);
    assert!(stdout.is_truncated());
    assert!(stdout.head.len() + stdout.tail.len() <= 64 * 1024);
    assert!(stdout.head.starts_with(b"0123456789abcdef0123"));
    assert!(stdout.tail.ends_with(b"cdefthe end"));
    let line = b"0123456789abcdef".repeat(4096);
    let mut digest = DigestStream::new();
    (0..200 * 16).for_each(|_| digest.push(&line));
    digest.push(b"the end");
    assert_eq!(stdout.sha256, digest.finish());
}

/// A program can write more than the capacity of a pipe to both streams, and exit.
pub async fn output_beyond_pipe_capacity_does_not_deadlock(engine: Subject) {
    let source = "import os\nos.write(2, b'e' * 200000)\nos.write(1, b'o' * 200000)\n";
    let outcome = run(&engine, &Evaluation::python(source).with_limits(limits())).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 0 });
    assert_eq!((outcome.stdout.total_bytes, outcome.stderr.total_bytes), (200_000, 200_000));
}

/// Output is captured as bytes, not as text.
pub async fn output_bytes_are_kept_unchanged(engine: Subject) {
    let source = "import os\nos.write(1, bytes(range(256)))\n";
    let outcome = run(&engine, &Evaluation::python(source).with_limits(limits())).await;
    assert_eq!(outcome.stdout.head, (0..=255).collect::<Vec<u8>>());
}

/// Live output contains every byte at its offset.
pub async fn live_output_is_complete_and_ordered(engine: Subject) {
    let (sender, mut receiver) = mpsc::channel(1);
    let seen = Arc::new(Mutex::new(0_usize));
    let watched = Arc::clone(&seen);
    let sink = OutputSink::none()
        .with_channel(sender)
        .with_watcher(move |piece: &OutputChunk| *watched.lock().unwrap() += piece.bytes.len());
    let collect = async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = receiver.recv().await {
            let stream =
                if piece.stream == OutputStream::Stdout { &mut stdout } else { &mut stderr };
            assert_eq!(piece.offset, stream.len() as u64);
            stream.extend_from_slice(&piece.bytes);
        }
        (stdout, stderr)
    };
    let source = "import sys\nfor n in range(20000): print(n)\nprint('e', file=sys.stderr)\n";
    let evaluation = Evaluation::python(source).with_limits(limits());
    let run = async {
        let context = RunContext::new().with_output(sink);
        run_in(&engine, &evaluation, &context).await
    };
    let (outcome, (stdout, stderr)) = tokio::join!(run, collect);
    assert_eq!(stdout, outcome.stdout.head);
    assert_eq!(stderr, b"e\n");
    assert_eq!(*seen.lock().unwrap(), stdout.len() + stderr.len());
}

/// A dropped receiver does not stop the run.
pub async fn dropped_output_receiver_does_not_stop_run(engine: Subject) {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let context = RunContext::new().with_output(OutputSink::none().with_channel(sender));
    let evaluation = Evaluation::shell("echo one; echo two").with_limits(limits());
    assert_eq!(stdout_of(&run_in(&engine, &evaluation, &context).await), "one\ntwo\n");
}

/// A receiver that does not read makes the program wait while its limits continue. The outcome
/// still arrives, with the exact count.
pub async fn stalled_output_receiver_does_not_block_outcome(engine: Subject) {
    let (sender, _receiver) = mpsc::channel(1);
    let context = RunContext::new().with_output(OutputSink::none().with_channel(sender));
    let limits = limits().with_wall(Duration::from_secs(1) * slowness());
    let evaluation = Evaluation::shell("echo one; sleep 0.1; echo two; sleep 0.1; echo three")
        .with_limits(limits);
    let outcome = timeout(PATIENCE, run_in(&engine, &evaluation, &context))
        .await
        .expect("the outcome arrives");
    assert_eq!(stdout_of(&outcome), "one\ntwo\nthree\n");
}
