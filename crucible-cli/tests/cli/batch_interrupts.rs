//! `crucible batch` and Ctrl-C: the first drains, the second cancels, and no process remains.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::batch::answers;
use super::support::{AMPLE, Run, crucible};

/// Returns a duration for `sleep` that is longer than a test. Its fraction identifies the process.
fn nap(number: u32) -> String {
    format!("1000.{}{number}", std::process::id())
}

/// Returns the processes on this machine that sleep for this duration.
fn sleepers(nap: &str) -> Vec<Pid> {
    let wanted = format!("sleep\0{nap}\0");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let sleeping = processes.filter(|process| {
        // A process that ends meanwhile has no command line.
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    });
    sleeping
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Waits until a guest sleeps. A guest cannot signal the test, so this polls.
fn sleeper(nap: &str) -> Pid {
    loop {
        match sleepers(nap)[..] {
            [] => std::thread::sleep(Duration::from_millis(10)),
            [pid] => return pid,
            _ => panic!("more than one process sleeps for {nap}"),
        }
    }
}

/// A running batch and its standard error.
struct RunningBatch {
    child: Child,
    stderr: BufReader<ChildStderr>,
    read: String,
}

impl RunningBatch {
    /// Starts a batch of these lines, and waits for its first answer.
    fn start(workers: &str, lines: &[String]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = crucible(["batch", "--wall", AMPLE, "--workers", workers]);
        let mut child = command.arg(file.path()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // After the first answer the file is open and the signal handler is installed.
        let mut first = vec![0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(first, b"{");
        Self { child, stderr, read: String::new() }
    }

    /// Sends SIGINT.
    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits until standard error contains this text.
    fn wait_for(&mut self, text: &str) {
        while !self.read.contains(text) {
            let read = self.stderr.read_line(&mut self.read).unwrap();
            assert!(read > 0, "no `{text}` on standard error: {}", self.read);
        }
    }

    /// Waits until the batch ends.
    fn end(mut self) -> Run {
        self.stderr.read_to_string(&mut self.read).unwrap();
        let mut run = Run::new(self.child.wait_with_output().unwrap());
        run.stdout.insert(0, '{');
        run.stderr = self.read;
        run
    }
}

/// Returns the first line of each input. It ends immediately.
fn first() -> String {
    r#"{"key":"first","command":["true"]}"#.to_owned()
}

/// Returns a line with a program that sleeps and then prints a word.
fn sleeping(key: &str, nap: &str) -> String {
    format!(r#"{{"key":"{key}","command":["sh","-c","sleep {nap}; echo woken"]}}"#)
}

#[test]
fn first_interrupt_drains_running_programs() {
    let (nap, never) = (nap(1), nap(2));
    let mut batch =
        RunningBatch::start("1", &[first(), sleeping("runs", &nap), sleeping("waits", &never)]);
    let pid = sleeper(&nap);
    batch.interrupt();
    batch.wait_for("draining");
    // The program still runs. Without its `sleep`, it ends by itself.
    kill_process(pid, Signal::TERM).unwrap();
    let run = batch.end();
    let answers = answers(&run.stdout);
    assert_eq!(answers["\"runs\""]["outcome"]["verdict"]["code"], 0, "{run:?}");
    assert_eq!(answers["\"runs\""]["outcome"]["stdout"]["text"], "woken\n", "{run:?}");
    // The waiting evaluation did not start and has no outcome.
    assert_eq!(answers["\"waits\""]["state"], "queued", "{run:?}");
    assert!(answers["\"waits\""].get("outcome").is_none(), "{run:?}");
    assert!(run.stderr.contains("interrupted: 1 accepted evaluations did not run"), "{run:?}");
    assert!(!run.stderr.contains("cancelling"), "{run:?}");
    assert_eq!(run.status, 130, "{run:?}");
    assert_eq!((sleepers(&nap), sleepers(&never)), (Vec::new(), Vec::new()));
}

#[test]
fn second_interrupt_cancels_running_programs() {
    let (one, two) = (nap(3), nap(4));
    let mut batch =
        RunningBatch::start("2", &[first(), sleeping("one", &one), sleeping("two", &two)]);
    sleeper(&one);
    sleeper(&two);
    batch.interrupt();
    batch.wait_for("draining");
    batch.interrupt();
    batch.wait_for("cancelling");
    let run = batch.end();
    assert_eq!((sleepers(&one), sleepers(&two)), (Vec::new(), Vec::new()), "{run:?}");
    let answers = answers(&run.stdout);
    for key in ["\"one\"", "\"two\""] {
        assert_eq!(answers[key]["state"], "cancelled", "{run:?}");
        assert_eq!(answers[key]["outcome"]["verdict"]["kind"], "cancelled", "{run:?}");
    }
    assert_eq!(run.status, 130, "{run:?}");
}

#[test]
fn interrupt_during_blocked_output_is_kept() {
    let nap = nap(5);
    // The answer is larger than the pipe: writing it blocks until the test reads.
    let flood = r#"{"key":"flood","command":["sh","-c","yes | head -c 500000"]}"#.to_owned();
    let mut batch = RunningBatch::start("1", &[flood, sleeping("runs", &nap)]);
    let pid = sleeper(&nap);
    batch.interrupt();
    // The output is read after the signal handler ran. The handler has no visible effect yet.
    std::thread::sleep(Duration::from_millis(200));
    let mut stdout = BufReader::new(batch.child.stdout.take().unwrap());
    let mut answer = String::new();
    stdout.read_line(&mut answer).unwrap();
    assert!(answer.contains(r#""key":"flood""#), "{}", answer.len());
    batch.wait_for("draining");
    kill_process(pid, Signal::TERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("woken"), "{rest}");
    assert_eq!(batch.child.wait().unwrap().code(), Some(130));
}
