//! `crucible history` and `crucible verify` on data directories of `run` and `batch`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::batch::answers;
use super::support::{AMPLE, Run, crucible, history, in_repository};

/// The deadline of a test that polls.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the standard output of a successful `crucible history`.
#[track_caller]
fn history_output(data: &Path, arguments: &[&str]) -> String {
    let run = history(data, arguments);
    assert_eq!(run.status, 0, "{arguments:?}: {run:?}");
    run.stdout
}

/// Returns all records of a data directory.
fn records(data: &Path) -> Vec<Value> {
    let text = history_output(data, &["list", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs `crucible run` with the data directory.
fn run(data: &Path, arguments: &[&str]) -> Run {
    Run::of(crucible(["run", "--wall", AMPLE, "--data"]).arg(data).args(arguments))
}

/// Starts `crucible batch` with the data directory on standard input.
fn batch(data: &Path) -> Child {
    let mut command = crucible(["batch", "--wall", AMPLE, "--workers", "2", "-", "--data"]);
    command.arg(data).stdin(Stdio::piped()).spawn().unwrap()
}

/// Runs `crucible batch` over lines.
fn batch_of(data: &Path, lines: &str) -> Run {
    let mut child = batch(data);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Run::new(child.wait_with_output().unwrap())
}

#[test]
fn evaluation_can_be_listed_shown_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let missing = history(&data, &["list"]);
    assert_eq!(missing.status, 2, "{missing:?}");
    assert!(missing.stderr.contains("no such directory\nfix: "), "{missing:?}");
    let run = run(&data, &[in_repository("examples/programs/hello.py").to_str().unwrap()]);
    assert_eq!((run.status, run.verdict()), (0, "exited 0"), "{run:?}");
    assert!(run.stdout.starts_with("Hello from Python 3."), "{run:?}");

    let [record] = &records(&data)[..] else { panic!("one record") };
    assert_eq!((&record["state"], &record["key"]), (&"finished".into(), &Value::Null), "{record}");
    let id = record["id"].as_str().unwrap();
    let list = history_output(&data, &["list"]);
    assert!(list.contains(id) && list.contains("exited 0"), "{list}");
    assert_eq!(history_output(&data, &["list", "--state", "failed"]), "");
    let shown = history_output(&data, &["show", id]);
    for part in [
        "exited 0",
        "Hello from Python 3.",
        "submitted",
        "started",
        "finished",
        "journal: verified",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let whole: Value =
        serde_json::from_str(&history_output(&data, &["show", id, "--json"])).unwrap();
    assert_eq!(whole["journal"].as_array().map(Vec::len), Some(3), "{whole}");
    assert!(history_output(&data, &["verify"]).contains("1 journals, 3 entries"));
    assert_eq!(history_output(&data, &["follow", id]).lines().count(), 3);
    let unknown = history(&data, &["show", "01900000-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.status, 2, "{unknown:?}");
}

#[test]
fn killed_batch_resumes_from_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let line = |n: u32| {
        format!("{{\"key\":\"k{n}\",\"command\":[\"sh\",\"-c\",\"sleep 0.1; exit {}\"]}}\n", n % 3)
    };
    let lines: String = (0..30).map(line).collect();
    let mut child = batch(&data);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    // Some lines have an outcome, some run, some wait, some are not read.
    let mut done = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..5 {
        done.next().unwrap().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = records(&data);
    let ended = before.iter().filter(|record| record["state"] == "finished").count();
    assert!((5..30).contains(&ended), "{ended} of {}", before.len());

    let run = batch_of(&data, &lines);
    assert_eq!(run.status, 0, "{run:?}");
    let answers = answers(&run.stdout);
    assert_eq!(answers.len(), 30, "each key has one answer");
    for n in 0..30 {
        let answer = &answers[&format!("\"k{n}\"")];
        assert_eq!(answer["outcome"]["verdict"]["code"], n % 3, "{answer}");
    }
    let after = records(&data);
    assert_eq!(after.len(), 30);
    for record in before.iter().filter(|record| record["state"] == "finished") {
        let same = after.iter().find(|other| other["id"] == record["id"]).unwrap();
        assert_eq!(same, record, "finished evaluations do not run again");
    }
    // Again: all lines are answered without a run. A known key with another program is refused.
    let again = batch_of(
        &data,
        &(lines + "{\"key\":\"k1\",\"command\":[\"true\"]}\n{\"command\":[\"true\"]}\n"),
    );
    assert_eq!(again.status, 2, "{again:?}");
    assert!(again.stderr.contains("line 31: the key belongs to another evaluation"), "{again:?}");
    assert_eq!(again.stdout.lines().count(), 31);
    assert_eq!(records(&data).len(), 31);
    assert!(history_output(&data, &["verify"]).contains(": verified"));
}

#[test]
fn directory_in_use_is_refused_with_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let script = "echo here; sleep 1000";
    let mut command = crucible(["run", "--wall", AMPLE, "--language", "sh", "--code", script]);
    let mut child = command.arg("--data").arg(&data).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    let refused = history(&data, &["list"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.stderr.contains(&format!("process {}", child.id())), "{refused:?}");
    assert_eq!(records(&data)[0]["state"], "running");
}

// Three hosts are killed while it runs, and it becomes a dead letter. Other evaluations run. After
// a redrive it ends.
#[test]
fn poison_becomes_a_dead_letter_and_is_redriven() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut expired_leases = 0;
    let began = Instant::now();
    while expired_leases < 3 {
        let mut command = if data.exists() {
            let mut command = crucible(["history", "--data"]);
            command.arg(&data).arg("follow");
            command
        } else {
            let mut command = crucible(["run", "--wall", AMPLE, "--data"]);
            command.arg(&data).args(["--language", "sh", "--code", "sleep 2; echo survived"]);
            command
        };
        let mut host = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        host.kill().unwrap();
        host.wait().unwrap();
        // On a slow machine the program may not have started.
        expired_leases +=
            u32::from(records(&data).iter().any(|record| record["state"] == "running"));
        assert!(began.elapsed() < PATIENCE, "the program never runs");
    }
    let run = run(&data, &["--language", "sh", "--code", "echo other"]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "other\n"), "{run:?}");
    let dead = history_output(&data, &["dead", "--json"]);
    let letter: Value = serde_json::from_str(dead.trim()).unwrap();
    assert_eq!(letter["error"]["kind"], "poison", "{letter}");
    let id = letter["id"].as_str().unwrap();
    assert!(history_output(&data, &["show", id]).contains("requeued"));
    let redriven = history_output(&data, &["redrive", id]);
    assert!(redriven.contains(id) && redriven.contains("exited 0"), "{redriven}");
    assert_eq!(records(&data).len(), 3, "the dead letter stays");
    let refused = history(&data, &["redrive", records(&data)[2]["id"].as_str().unwrap()]);
    assert_ne!(refused.status, 0, "{refused:?}");
}

#[test]
fn export_is_verified_and_edits_are_detected() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let data = directory.path().join("data");
    let lines: String =
        (0..5).map(|n| format!("{{\"key\":{n},\"command\":[\"true\"]}}\n")).collect();
    assert_eq!(batch_of(&data, &lines).status, 0);
    let key = in_directory("key");
    let public = history_output(&data, &["key", "--out", &key]).trim().to_owned();
    assert_eq!(history(&data, &["key", "--out", &key]).status, 2, "a key is not overwritten");
    let checkpoint = in_directory("checkpoint");
    history_output(&data, &["checkpoint", "--key", &key, "--out", &checkpoint]);
    let verified = ["verify", "--checkpoint", &checkpoint, "--key", &public];
    assert!(history_output(&data, &verified).contains("5 journals, all present"));
    let all = history_output(&data, &["export", "--checkpoint", &checkpoint]);
    assert_eq!(
        verify(&all, &public),
        (0, "verified: all 5 journals of the checkpoint\n".to_owned())
    );
    let id = records(&data)[2]["id"].as_str().unwrap().to_owned();
    let one = history_output(&data, &["export", &id, "--key", &key]);
    assert_eq!(
        verify(&one, &public),
        (0, "verified: 1 of the checkpoint's 5 journals\n".to_owned())
    );

    let lines: Vec<&str> = all.lines().collect();
    let last = lines.len() - 1;
    for (what, edited) in [
        ("an entry is gone", lines[..last].join("\n")),
        ("an entry was edited", all.replacen("\"true\"", "\"fals\"", 1)),
        (
            "a journal is gone",
            lines.iter().filter(|line| !line.contains(&id)).copied().collect::<Vec<_>>().join("\n"),
        ),
        ("the statement was edited", all.replacen("\"count\":5", "\"count\":4", 1)),
        ("there is no statement", lines[1..].join("\n")),
    ] {
        assert_ne!(edited, all, "{what}");
        let (status, text) = verify(&edited, &public);
        assert!(status == 1 && text.starts_with("NOT verified: "), "{what}: {text}");
    }
    let other = history_output(&data, &["key", "--out", &in_directory("other")]).trim().to_owned();
    assert_eq!(verify(&all, &other).0, 1);
    // Purged evaluations are missing too.
    assert!(history_output(&data, &["purge", "--all"]).contains("5 removed"));
    let run = history(&data, &verified);
    assert!(run.status == 1 && run.stdout.contains("is missing"), "{run:?}");
}

/// Runs `crucible verify` on an export.
fn verify(export: &str, key: &str) -> (i32, String) {
    let mut command = crucible(["verify", "--key", key, "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    (run.status, run.stdout)
}

#[test]
fn purge_removes_ended_evaluations() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let lines = "{\"key\":1,\"command\":[\"true\"]}\n{\"key\":2,\"command\":[\"false\"]}\n";
    assert_eq!(batch_of(&data, lines).status, 0);
    assert_eq!(history(&data, &["purge"]).status, 2, "purge needs a selection");
    assert!(history_output(&data, &["purge", "--older-than", "1h"]).contains("0 removed"));
    assert_ne!(history(&data, &["purge", "--all", "--state", "queued"]).status, 0);
    assert!(
        history_output(&data, &["purge", "--all", "--state", "finished"]).contains("2 removed")
    );
    assert_eq!(records(&data).len(), 0);
    assert_eq!(batch_of(&data, lines).status, 0, "the keys are free again");
    assert_eq!(records(&data).len(), 2);
}
