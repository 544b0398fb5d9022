//! A data directory: what `evaluate` and `batch` keep there, and what `history` makes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::batch::answers;
use super::support::{AMPLE, Run, example, in_project};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn history(data: &Path, arguments: &[&str]) -> Run {
    Run::new(example("history").arg("--data").arg(data).args(arguments).output().unwrap())
}

/// The same, where nothing must go wrong.
#[track_caller]
fn told(data: &Path, arguments: &[&str]) -> String {
    let run = history(data, arguments);
    assert_eq!(run.status, 0, "{arguments:?}: {run:?}");
    run.stdout
}

fn records(data: &Path) -> Vec<Value> {
    let text = told(data, &["list", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn evaluate(data: &Path, arguments: &[&str]) -> Run {
    Run::new(
        example("evaluate")
            .arg("--data")
            .arg(data)
            .args(["--wall", AMPLE])
            .args(arguments)
            .output()
            .unwrap(),
    )
}

fn batch(data: &Path) -> Child {
    let mut command = example("batch");
    command
        .arg("--data")
        .arg(data)
        .args(["--wall", AMPLE, "--workers", "2", "-"])
        .stdin(Stdio::piped());
    command.spawn().unwrap()
}

fn batch_of(data: &Path, lines: &str) -> Run {
    let mut child = batch(data);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Run::new(child.wait_with_output().unwrap())
}

#[test]
fn what_was_evaluated_can_be_listed_shown_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let missing = history(&data, &["list"]);
    assert_eq!(missing.status, 2, "{missing:?}");
    assert!(missing.stderr.contains("there is no such directory"), "{missing:?}");
    let run = evaluate(&data, &[in_project("examples/programs/hello.py").to_str().unwrap()]);
    assert_eq!((run.status, run.verdict()), (0, "exited 0"), "{run:?}");
    assert!(run.stdout.starts_with("Hello from Python 3."), "{run:?}");

    let [record] = &records(&data)[..] else { panic!("one record") };
    assert_eq!((&record["state"], &record["key"]), (&"finished".into(), &Value::Null), "{record}");
    let id = record["id"].as_str().unwrap();
    let list = told(&data, &["list"]);
    assert!(list.contains(id) && list.contains("exited 0"), "{list}");
    assert_eq!(told(&data, &["list", "--state", "failed"]), "");
    let shown = told(&data, &["show", id]);
    for part in [
        "exited 0",
        "Hello from Python 3.",
        "submitted",
        "started",
        "finished",
        "the journal is whole",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let whole: Value = serde_json::from_str(&told(&data, &["show", id, "--json"])).unwrap();
    assert_eq!(whole["journal"].as_array().map(Vec::len), Some(3), "{whole}");
    assert!(told(&data, &["verify"]).contains("1 journals, 3 entries"));
    assert_eq!(told(&data, &["follow", id]).lines().count(), 3);
    let unknown = history(&data, &["show", "01900000-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.status, 2, "{unknown:?}");
}

#[test]
fn a_batch_goes_on_where_it_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let line = |n: u32| {
        format!("{{\"key\":\"k{n}\",\"command\":[\"sh\",\"-c\",\"sleep 0.1; exit {}\"]}}\n", n % 3)
    };
    let lines: String = (0..30).map(line).collect();
    let mut child = batch(&data);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    // Some are done, some run, some are accepted, some are not read.
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
    assert_eq!(answers.len(), 30, "every key once");
    for n in 0..30 {
        let answer = &answers[&format!("\"k{n}\"")];
        assert_eq!(answer["outcome"]["verdict"]["code"], n % 3, "{answer}");
    }
    let after = records(&data);
    assert_eq!(after.len(), 30);
    for record in before.iter().filter(|record| record["state"] == "finished") {
        let same = after.iter().find(|other| other["id"] == record["id"]).unwrap();
        assert_eq!(same, record, "what was done is not run again");
    }
    // Once more: nothing is left to be run, and everything is answered. Another program under a known key is refused.
    let again = batch_of(
        &data,
        &(lines + "{\"key\":\"k1\",\"command\":[\"true\"]}\n{\"command\":[\"true\"]}\n"),
    );
    assert_eq!(again.status, 2, "{again:?}");
    assert!(again.stderr.contains("line 31: the key was used for another evaluation"), "{again:?}");
    assert_eq!(again.stdout.lines().count(), 31);
    assert_eq!(records(&data).len(), 31);
    assert!(told(&data, &["verify"]).contains("all as they were written"));
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut child = example("evaluate")
        .arg("--data")
        .arg(&data)
        .args(["--wall", AMPLE, "--language", "sh", "--code", "echo here; sleep 1000"])
        .spawn()
        .unwrap();
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

/// Three workers die over it, and it is given up; the others go on. Driven again where nobody kills, it ends.
#[test]
fn poison_becomes_a_dead_letter_and_can_be_driven_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut expired_leases = 0;
    let began = Instant::now();
    while expired_leases < 3 {
        let (name, arguments) = if data.exists() {
            ("history", &["follow"][..])
        } else {
            (
                "evaluate",
                &["--wall", AMPLE, "--language", "sh", "--code", "sleep 2; echo survived"][..],
            )
        };
        let mut host = example(name).arg("--data").arg(&data).args(arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        host.kill().unwrap();
        host.wait().unwrap();
        // On a slow machine it may not have begun.
        expired_leases +=
            u32::from(records(&data).iter().any(|record| record["state"] == "running"));
        assert!(began.elapsed() < PATIENCE, "it never runs");
    }
    let run = evaluate(&data, &["--language", "sh", "--code", "echo other"]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "other\n"), "{run:?}");
    let dead = told(&data, &["dead", "--json"]);
    let letter: Value = serde_json::from_str(dead.trim()).unwrap();
    assert_eq!(letter["error"]["kind"], "poison", "{letter}");
    let id = letter["id"].as_str().unwrap();
    assert!(told(&data, &["show", id]).contains("requeued"));
    let redriven = told(&data, &["redrive", id]);
    assert!(redriven.contains(id) && redriven.contains("exited 0"), "{redriven}");
    assert_eq!(records(&data).len(), 3, "the dead letter stays what it is");
    let refused = history(&data, &["redrive", records(&data)[2]["id"].as_str().unwrap()]);
    assert_ne!(refused.status, 0, "{refused:?}");
}

#[test]
fn an_export_is_believed_without_this_library() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let data = directory.path().join("data");
    let lines: String =
        (0..5).map(|n| format!("{{\"key\":{n},\"command\":[\"true\"]}}\n")).collect();
    assert_eq!(batch_of(&data, &lines).status, 0);
    let key = in_directory("key");
    let public = told(&data, &["key", "--out", &key]).trim().to_owned();
    assert_eq!(history(&data, &["key", "--out", &key]).status, 2, "a key is not written over");
    let checkpoint = in_directory("checkpoint");
    told(&data, &["checkpoint", "--key", &key, "--out", &checkpoint]);
    let verified = ["verify", "--checkpoint", &checkpoint, "--key", &public];
    assert!(told(&data, &verified).contains("5 journals, all there"));
    let all = told(&data, &["export", "--checkpoint", &checkpoint]);
    assert_eq!(
        check(&all, &public),
        (0, "verified: all 5 journals of the checkpoint\n".to_owned())
    );
    let id = records(&data)[2]["id"].as_str().unwrap().to_owned();
    let one = told(&data, &["export", &id, "--key", &key]);
    assert_eq!(
        check(&one, &public),
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
        let (status, words) = check(&edited, &public);
        assert!(status == 1 && words.starts_with("NOT verified: "), "{what}: {words}");
    }
    let other = told(&data, &["key", "--out", &in_directory("other")]).trim().to_owned();
    assert_eq!(check(&all, &other).0, 1);
    // What was removed in good order is missing all the same.
    assert!(told(&data, &["purge", "--all"]).contains("5 removed"));
    let run = history(&data, &verified);
    assert!(run.status == 1 && run.stdout.contains("is missing"), "{run:?}");
}

fn check(export: &str, key: &str) -> (i32, String) {
    let mut child = example("verify_export").arg(key).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    (run.status, run.stdout)
}

#[test]
fn what_has_ended_can_be_removed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let lines = "{\"key\":1,\"command\":[\"true\"]}\n{\"key\":2,\"command\":[\"false\"]}\n";
    assert_eq!(batch_of(&data, lines).status, 0);
    assert_eq!(history(&data, &["purge"]).status, 2, "not everything by accident");
    assert!(told(&data, &["purge", "--older-than", "1h"]).contains("0 removed"));
    assert_ne!(history(&data, &["purge", "--all", "--state", "queued"]).status, 0);
    assert!(told(&data, &["purge", "--all", "--state", "finished"]).contains("2 removed"));
    assert_eq!(records(&data).len(), 0);
    assert_eq!(batch_of(&data, lines).status, 0, "the keys are free again");
    assert_eq!(records(&data).len(), 2);
}
