//! `batch` and Ctrl-C: once lets what runs end, twice ends it, and nothing is left either way.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::batch::answers;
use super::support::{AMPLE, Run, example};

/// How long a guest sleeps: longer than any test lasts, and told from every other process by its fraction.
fn nap(number: u32) -> String {
    format!("1000.{}{number}", std::process::id())
}

/// The processes on this machine that sleep for that long.
fn sleepers(nap: &str) -> Vec<Pid> {
    let wanted = format!("sleep\0{nap}\0");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let sleeping = processes.filter(|process| {
        // One that ends meanwhile has no command line.
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    });
    sleeping
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Waits until a guest sleeps. Guests can tell nobody before they end, so this looks again and again.
fn sleeper(nap: &str) -> Pid {
    loop {
        match sleepers(nap)[..] {
            [] => std::thread::sleep(Duration::from_millis(10)),
            [pid] => return pid,
            _ => panic!("more than one process sleeps for {nap}"),
        }
    }
}

/// A `batch` that runs, and its words as they come.
struct Running {
    child: Child,
    words: BufReader<ChildStderr>,
    heard: String,
}

impl Running {
    /// Starts `batch` over these lines.
    fn start(workers: &str, lines: &[String]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = example("batch");
        command.args(["--wall", AMPLE, "--workers", workers]).arg(file.path());
        let mut child = command.spawn().unwrap();
        let words = BufReader::new(child.stderr.take().unwrap());
        // Something came to an end, so the file was opened, and Ctrl-C is listened to.
        let mut first = vec![0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(first, b"{");
        Self { child, words, heard: String::new() }
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits until it says this.
    fn hear(&mut self, word: &str) {
        while !self.heard.contains(word) {
            let read = self.words.read_line(&mut self.heard).unwrap();
            assert!(read > 0, "it never said `{word}`: {}", self.heard);
        }
    }

    /// Waits until it ends.
    fn end(mut self) -> Run {
        self.words.read_to_string(&mut self.heard).unwrap();
        let mut run = Run::new(self.child.wait_with_output().unwrap());
        run.stdout.insert(0, '{');
        run.stderr = self.heard;
        run
    }
}

/// The first line of each input: it ends at once, and its answer shows that `batch` is up.
fn up() -> String {
    r#"{"key":"up","command":["true"]}"#.to_owned()
}

fn sleeping(key: &str, nap: &str) -> String {
    format!(r#"{{"key":"{key}","command":["sh","-c","sleep {nap}; echo woken"]}}"#)
}

#[test]
fn once_lets_what_runs_end_and_starts_nothing_new() {
    let (nap, never) = (nap(1), nap(2));
    let mut batch = Running::start("1", &[up(), sleeping("runs", &nap), sleeping("waits", &never)]);
    let pid = sleeper(&nap);
    batch.interrupt();
    batch.hear("draining");
    // It runs still, and ends by itself: its sleep is over now.
    kill_process(pid, Signal::TERM).unwrap();
    let run = batch.end();
    let answers = answers(&run.stdout);
    assert_eq!(answers["\"runs\""]["outcome"]["verdict"]["code"], 0, "{run:?}");
    assert_eq!(answers["\"runs\""]["outcome"]["stdout"]["text"], "woken\n", "{run:?}");
    // What waited was never started, and came to no outcome.
    assert_eq!(answers["\"waits\""]["state"], "queued", "{run:?}");
    assert!(answers["\"waits\""].get("outcome").is_none(), "{run:?}");
    assert!(run.stderr.contains("interrupted: 1 were accepted and not run"), "{run:?}");
    assert!(!run.stderr.contains("cancelling"), "{run:?}");
    assert_eq!(run.status, 130, "{run:?}");
    assert_eq!((sleepers(&nap), sleepers(&never)), (Vec::new(), Vec::new()));
}

#[test]
fn twice_ends_what_runs_and_leaves_no_process() {
    let (one, two) = (nap(3), nap(4));
    let mut batch = Running::start("2", &[up(), sleeping("one", &one), sleeping("two", &two)]);
    sleeper(&one);
    sleeper(&two);
    batch.interrupt();
    batch.hear("draining");
    batch.interrupt();
    batch.hear("cancelling");
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
fn a_ctrl_c_that_comes_while_output_is_stuck_is_not_lost() {
    let nap = nap(5);
    // More than a pipe takes: until somebody reads it, writing the answer does not end.
    let flood = r#"{"key":"flood","command":["sh","-c","yes | head -c 500000"]}"#.to_owned();
    let mut batch = Running::start("1", &[flood, sleeping("runs", &nap)]);
    let pid = sleeper(&nap);
    batch.interrupt();
    // Once its listener had the signal, the output flows again. Nothing tells when that is.
    std::thread::sleep(Duration::from_millis(200));
    let mut stdout = BufReader::new(batch.child.stdout.take().unwrap());
    let mut answer = String::new();
    stdout.read_line(&mut answer).unwrap();
    assert!(answer.contains(r#""key":"flood""#), "{}", answer.len());
    batch.hear("draining");
    kill_process(pid, Signal::TERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("woken"), "{rest}");
    assert_eq!(batch.child.wait().unwrap().code(), Some(130));
}
