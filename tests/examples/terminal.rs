//! What a program writes must not reach a terminal as orders to it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::support::{AMPLE, Run, code, example};

/// Sets a title, clears the screen, deletes, and sets a title once more by the sequences that are one character.
const HOSTILE: &str = r#"
import os, sys
orders = '\x1b]0;title\x07\x1b[2J\x7f\u009d0;title\u009c\r'
sys.stdout.write('out' + orders)
sys.stderr.write('err' + orders)
open('name' + orders, 'w').close()
"#;

fn assert_inert(text: &str) {
    let order =
        text.chars().find(|character| character.is_control() && !matches!(character, '\n' | '\t'));
    assert_eq!(order, None, "{text:?}");
}

#[test]
fn one_line_of_json_is_no_order() {
    let into = tempfile::tempdir().unwrap();
    let into = into.path().to_str().unwrap();
    let run = code("python", HOSTILE, &["--json", "--collect", "name*", "--into", into]);
    assert_inert(&run.stdout);
    assert_inert(&run.stderr);
    let outcome: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let written = "out\u{1b}]0;title\u{7}\u{1b}[2J\u{7f}\u{9d}0;title\u{9c}\r";
    assert_eq!(outcome["stdout"]["text"], written, "nothing is lost by it");
    assert_eq!(outcome["artifacts"].as_array().map(Vec::len), Some(1), "{outcome}");
}

#[test]
fn lines_of_a_batch_are_no_orders() {
    let line = serde_json::json!({"key": "\u{9b}2J", "language": "python", "source": HOSTILE});
    let bad = "{\"key\": \"\u{9b}2J\u{1b}[2J\"";
    let mut child =
        example("batch").args(["--wall", AMPLE, "-"]).stdin(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{line}\n{bad}").unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    assert_inert(&run.stdout);
    assert_inert(&run.stderr);
    let answer: serde_json::Value =
        serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(answer["key"], "\u{9b}2J");
}

/// A pipe gets the bytes as they are; a terminal gets them as escapes.
#[test]
fn a_terminal_gets_no_orders() {
    let source = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    std::fs::write(source.path(), HOSTILE).unwrap();
    let inner = example("evaluate");
    let words =
        [inner.get_program().to_str().unwrap(), "--wall", AMPLE, source.path().to_str().unwrap()];
    // It gives a program a terminal, and writes what the program wrote there.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    assert!(text.contains("exited 0"), "{text:?}");
    assert!(text.contains(r"out\u{1b}]0;title\u{7}"), "{text:?}");
    assert_inert(&text);
    let piped = code("python", HOSTILE, &[]);
    assert!(piped.stdout.contains('\u{1b}'), "{piped:?}");
}
