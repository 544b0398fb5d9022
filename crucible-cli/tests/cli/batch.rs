//! `crucible batch`: lines in, lines out, and a table at the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{AMPLE, Run, crucible};

const THREE: &str = r#"{"key":"right","language":"python","source":"print(input())","stdin":"hello"}
{"key":7,"command":["sh","-c","exit 3"]}
{"key":["c"],"language":"c","source":"int main("}
"#;

/// Returns `crucible batch` with ample time.
fn batch() -> Command {
    crucible(["batch", "--wall", AMPLE])
}

/// Runs `crucible batch` over lines on its standard input.
fn run_piped(lines: &str) -> Run {
    let mut child = batch().arg("-").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Run::new(child.wait_with_output().unwrap())
}

/// Returns the lines of the output by their keys.
pub(crate) fn answers(stdout: &str) -> BTreeMap<String, Value> {
    let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answers: Vec<_> = lines.map(|answer| (answer["key"].to_string(), answer)).collect();
    let count = answers.len();
    let answers: BTreeMap<_, _> = answers.into_iter().collect();
    assert_eq!(answers.len(), count, "a key occurs twice: {stdout}");
    answers
}

/// Returns `true` if the final table has this verdict with this count.
fn table_has(run: &Run, verdict: &str, count: usize) -> bool {
    run.stderr.lines().any(|line| {
        let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.next() == Some(verdict) && cells.next() == Some(count.to_string().as_str())
    })
}

#[track_caller]
fn assert_three(run: &Run) {
    assert_eq!(run.status, 0, "{run:?}");
    let answers = answers(&run.stdout);
    assert_eq!(answers.len(), 3, "{run:?}");
    for answer in answers.values() {
        assert_eq!(answer["state"], "finished", "{run:?}");
        assert!(answer["id"].is_string() && answer.get("error").is_none(), "{run:?}");
    }
    let outcome = |key: &str| &answers[key]["outcome"];
    assert_eq!(outcome("\"right\"")["verdict"], json!({"kind": "exited", "code": 0}));
    assert_eq!(outcome("\"right\"")["stdout"]["text"], "hello\n");
    assert_eq!(outcome("7")["verdict"], json!({"kind": "exited", "code": 3}));
    assert_eq!(outcome("[\"c\"]")["verdict"]["kind"], "compile_failed");
    for verdict in ["exited 0", "exited 3", "compile_failed"] {
        assert!(table_has(run, verdict, 1), "{verdict}: {run:?}");
    }
    assert!(run.stderr.contains("3 outcomes in "), "{run:?}");
}

#[test]
fn lines_from_file_and_stdin_have_outcomes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, THREE).unwrap();
    assert_three(&Run::new(batch().arg(file.path()).output().unwrap()));
    assert_three(&run_piped(THREE));
    // Empty lines are ignored, and the last line needs no line end.
    assert_three(&run_piped(&format!("\n{}", THREE.replace('\n', "\n\n").trim_end())));
}

#[test]
fn invalid_line_is_reported_and_others_run() {
    let lines = [
        r#"{"key":1,"command":["true"]}"#,
        "nonsense",
        r#"{"key":2,"language":"sh"}"#,
        r#"{"key":3,"command":["true"],"limitz":{}}"#,
        r#"{"key":4,"command":["true"],"limits":{"memory_bytes":1}}"#,
        r#"{"key":5,"command":["true"],"files":{"../out":"x"}}"#,
        r#"{"key":6,"command":[]}"#,
        r#"{"key":7,"language":"cobol","source":"x"}"#,
        r#"{"key":8,"command":["false"]}"#,
        r#"{"key":9,"command":["true"],"network":{"allow":["127.0.0.1:80"]}}"#,
        r#"{"key":10,"command":["true"],"network":{"allow":[]}}"#,
        r#"{"key":11,"command":["true"],"network":{"allowed":["a.test:80"]}}"#,
    ];
    let run = run_piped(&lines.join("\n"));
    assert_eq!(run.status, 2, "{run:?}");
    assert_eq!(answers(&run.stdout).into_keys().collect::<Vec<_>>(), ["1", "8"], "{run:?}");
    for (number, text) in [
        (2, "line 1 column"),
        (3, "`language` needs a `source`"),
        (4, "`limitz`"),
        (5, "limits.memory_bytes"),
        (6, "`..`"),
        (7, "`command` is empty"),
        (8, "cobol"),
        (10, "`network`: \"127.0.0.1:80\" is not"),
        (11, "is an empty allow-list"),
        (12, "`allowed`"),
    ] {
        let start = format!("line {number}: ");
        let line = run.stderr.lines().find(|line| line.starts_with(&start));
        assert!(line.is_some_and(|line| line.contains(text)), "{number}: {run:?}");
    }
    assert!(table_has(&run, "exited 0", 1) && table_has(&run, "exited 1", 1), "{run:?}");
    assert!(run.stderr.contains("10 invalid lines"), "{run:?}");
}

#[test]
fn line_that_is_not_utf8_is_invalid() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, b"\xff\xfe\n{\"key\":1,\"command\":[\"true\"]}\n").unwrap();
    let run = Run::new(batch().arg(file.path()).output().unwrap());
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("line 1: is not UTF-8"), "{run:?}");
    assert_eq!(answers(&run.stdout).len(), 1, "{run:?}");
}

#[test]
fn limit_options_apply_to_lines_without_limits() {
    let lines = r#"{"key":"default","command":["sh","-c","while :; do :; done"]}
{"key":"own","command":["sh","-c","while :; do :; done"],"limits":{"wall_us":100000}}"#;
    let mut command = batch();
    let mut child = command.args(["--cpu", "1s", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    let answers = answers(&run.stdout);
    assert_eq!(answers["\"default\""]["outcome"]["verdict"]["limit"], "cpu", "{run:?}");
    assert_eq!(answers["\"own\""]["outcome"]["verdict"]["limit"], "wall", "{run:?}");
    assert!(
        table_has(&run, "limit_exceeded cpu", 1) && table_has(&run, "limit_exceeded wall", 1),
        "{run:?}"
    );
}

#[test]
fn line_may_have_an_allow_list() {
    let lines = r#"{"key":"some","command":["env"],"network":{"allow":["a.test:443"]}}
{"key":"none","command":["env"]}"#;
    let run = run_piped(lines);
    assert_eq!(run.status, 0, "{run:?}");
    let answers = answers(&run.stdout);
    let has =
        |key: &str| answers[key]["outcome"]["stdout"]["text"].as_str().unwrap().contains("_proxy=");
    assert!(has("\"some\"") && !has("\"none\""), "{run:?}");
}

#[test]
fn empty_input_has_empty_output() {
    let run = run_piped("");
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{run:?}");
    assert!(run.stderr.contains("0 outcomes in "), "{run:?}");
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, text) in [
        (&["no/such/file"][..], "no/such/file: No such file"),
        (&["--engine", "nosuch", "-"], "available: subprocess"),
        (&["--workers", "0", "-"], "workers"),
        (&["--memory", "many", "-"], "--memory"),
        (&[], "FILE"),
    ] {
        let run = Run::new(batch().args(arguments).output().unwrap());
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(text), "{arguments:?}: {run:?}");
    }
}
