//! The two examples that are read more than they are run: `session` and `embed`, the README's program.

use super::support::{Run, example, in_project};

fn run(name: &str) -> Run {
    let run = Run::new(example(name).output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    run
}

#[test]
fn an_agent_sees_its_first_draft_fail_and_its_second_pass() {
    let run = run("session");
    let lines: Vec<&str> = run.stdout.lines().map(str::trim).collect();
    assert_eq!(lines[0], "turn 1: exited 1", "{run:?}");
    assert!(lines[1].starts_with("ZeroDivisionError"), "{run:?}");
    assert_eq!(lines[2..4], ["turn 2: exited 0", "all tests pass"], "{run:?}");
    assert!(lines.contains(&r"exited 0: the server still runs\n"), "{run:?}");
    for file in ["mean.py (", "test.py (", "pid ("] {
        assert!(lines.iter().any(|line| line.starts_with(file)), "{file}: {run:?}");
    }
    assert!(lines.last().is_some_and(|line| line.starts_with("closed; ")), "{run:?}");
}

#[test]
fn a_host_program_prints_the_verdict_and_the_output() {
    assert_eq!(run("embed").stdout, "exited 0: 42\n");
}

#[test]
fn the_program_in_the_readme_is_the_one_that_is_run() {
    let readme = std::fs::read_to_string(in_project("README.md")).unwrap();
    let (_, block) = readme.split_once("```rust\n").unwrap();
    let (shown, _) = block.split_once("\n```").unwrap();
    let source = std::fs::read_to_string(in_project("examples/embed.rs")).unwrap();
    let lines: Vec<&str> = source.lines().filter(|line| !line.starts_with("//!")).collect();
    assert_eq!(shown.trim(), lines.join("\n").trim());
}
