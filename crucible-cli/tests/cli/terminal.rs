//! Guest text on a terminal: control characters are escaped.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::support::{AMPLE, Run, crucible, run_code};

/// Sets the title, clears the screen, deletes, and sets the title again with C1 sequences.
const HOSTILE: &str = r#"
import os, sys
sequences = '\x1b]0;title\x07\x1b[2J\x7f\u009d0;title\u009c\r'
sys.stdout.write('out' + sequences)
sys.stderr.write('err' + sequences)
open('name' + sequences, 'w').close()
"#;

#[track_caller]
fn assert_no_control(text: &str) {
    let control =
        text.chars().find(|character| character.is_control() && !matches!(character, '\n' | '\t'));
    assert_eq!(control, None, "{text:?}");
}

#[test]
fn json_outcome_has_no_control_characters() {
    let into = tempfile::tempdir().unwrap();
    let into = into.path().to_str().unwrap();
    let run = run_code("python", HOSTILE, &["--json", "--collect", "name*", "--into", into]);
    assert_no_control(&run.stdout);
    assert_no_control(&run.stderr);
    let outcome: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let written = "out\u{1b}]0;title\u{7}\u{1b}[2J\u{7f}\u{9d}0;title\u{9c}\r";
    assert_eq!(outcome["stdout"]["text"], written, "escapes keep the text");
    assert_eq!(outcome["artifacts"].as_array().map(Vec::len), Some(1), "{outcome}");
}

#[test]
fn batch_answers_have_no_control_characters() {
    let line = serde_json::json!({"key": "\u{9b}2J", "language": "python", "source": HOSTILE});
    let bad = "{\"key\": \"\u{9b}2J\u{1b}[2J\"";
    let mut command = crucible(["batch", "--wall", AMPLE, "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{line}\n{bad}").unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    assert_no_control(&run.stdout);
    assert_no_control(&run.stderr);
    let answer: serde_json::Value =
        serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(answer["key"], "\u{9b}2J");
}

#[test]
fn terminal_gets_escapes_and_pipe_gets_bytes() {
    let source = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    std::fs::write(source.path(), HOSTILE).unwrap();
    let binary = env!("CARGO_BIN_EXE_crucible");
    let words = [binary, "run", "--wall", AMPLE, source.path().to_str().unwrap()];
    // `script` gives a program a terminal, and prints what the program wrote to it.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    assert!(text.contains("exited 0"), "{text:?}");
    assert!(text.contains(r"out\u{1b}]0;title\u{7}"), "{text:?}");
    assert_no_control(&text);
    let piped = run_code("python", HOSTILE, &[]);
    assert!(piped.stdout.contains('\u{1b}'), "{piped:?}");
}
