//! `crucible run`: input, files, environment and arguments.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::support::{AMPLE, Run, crucible, run_code};

#[test]
fn stdin_is_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    fs::write(&file, "one\ntwo\n").unwrap();
    let run = run_code("sh", "cat", &["--stdin", file.to_str().unwrap()]);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "one\ntwo\n"), "{run:?}");
}

#[test]
fn stdin_dash_passes_the_own_stdin_on() {
    let mut command = crucible(["run", "--wall", AMPLE, "--stdin", "-", "--command", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "piped"), "{run:?}");
}

#[test]
fn stdin_is_empty_by_default() {
    // The command's own standard input stays open and is not passed on.
    let mut command = crucible(["run", "--wall", AMPLE, "--command", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let own = child.stdin.take().unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    drop(own);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", ""), "{run:?}");
}

#[test]
fn input_files_and_directories_are_copied() {
    let directory = tempfile::tempdir().unwrap();
    let (file, tree) = (directory.path().join("words.txt"), directory.path().join("tree"));
    fs::create_dir_all(tree.join("deep")).unwrap();
    fs::write(&file, "words\n").unwrap();
    fs::write(tree.join("top"), "top\n").unwrap();
    fs::write(tree.join("deep/leaf"), "leaf\n").unwrap();
    let script = "cat words.txt tree/top tree/deep/leaf; find . -type f | wc -l";
    let input = ["--input", file.to_str().unwrap(), "--input", tree.to_str().unwrap()];
    let run = run_code("sh", script, &input);
    // The fourth file is the source of the program.
    let expected = ("exited 0", "words\ntop\nleaf\n4\n");
    assert_eq!((run.verdict(), run.stdout.as_str()), expected, "{run:?}");
}

#[test]
fn executable_input_stays_executable() {
    let directory = tempfile::tempdir().unwrap();
    let tool = directory.path().join("tool");
    fs::write(&tool, "#!/bin/sh\necho tool\n").unwrap();
    let input = ["--input", tool.to_str().unwrap()];
    let run = run_code("sh", "./tool", &input);
    assert_eq!(run.verdict(), "exited 126", "{run:?}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&tool, mode).unwrap();
    let run = run_code("sh", "./tool", &input);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "tool\n"), "{run:?}");
}

#[test]
fn matching_files_are_collected() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("a/new/directory");
    let script = "mkdir -p out/deep; echo a > out/a.txt; echo b > out/deep/b.txt; \
                  echo c > out/c.bin; echo d > d.txt";
    let options = ["--collect", "out/**/*.txt", "--into", into.to_str().unwrap()];
    let run = run_code("sh", script, &options);
    assert_eq!(run.verdict(), "exited 0", "{run:?}");
    assert_eq!(fs::read_to_string(into.join("out/a.txt")).unwrap(), "a\n");
    assert_eq!(fs::read_to_string(into.join("out/deep/b.txt")).unwrap(), "b\n");
    assert!(!into.join("out/c.bin").exists() && !into.join("d.txt").exists(), "only matches");
}

#[test]
fn symlink_is_not_collected_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("into");
    let script = "ln -s /etc/hostname link; echo real > real";
    let run = run_code("sh", script, &["--collect", "*", "--into", into.to_str().unwrap()]);
    assert!(run.stderr.contains("not collected: \"link\": not a regular file"), "{run:?}");
    assert_eq!(fs::read_to_string(into.join("real")).unwrap(), "real\n");
    // Not even a dangling link has that name.
    assert!(fs::symlink_metadata(into.join("link")).is_err());
}

#[test]
fn input_symlink_arrives_as_its_target() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&target, "content").unwrap();
    symlink(&target, &link).unwrap();
    let run = run_code("sh", "test ! -L link && cat link", &["--input", link.to_str().unwrap()]);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "content"), "{run:?}");
}

#[test]
fn environment_has_only_given_variables() {
    let script = "echo \"$GREETING\"; env | grep -c SECRET_OF_THE_HOST";
    let run = run_code("sh", script, &["--env", "GREETING=a=b c"]);
    // `grep -c` prints 0 and exits with 1 without a match.
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 1", "a=b c\n0\n"), "{run:?}");
    let mut command = crucible(["run", "--wall", AMPLE, "--command", "--", "env"]);
    let run = Run::of(command.env("SECRET_OF_THE_HOST", "x"));
    assert_eq!(run.verdict(), "exited 0", "{run:?}");
    assert!(!run.stdout.contains("SECRET_OF_THE_HOST"), "{run:?}");
}

#[test]
fn arguments_are_passed_on_unchanged() {
    let code = "import sys; print(sys.argv[1:])";
    let run = run_code("python", code, &["--", "two words", "", "--json"]);
    let expected = ("exited 0", "['two words', '', '--json']\n");
    assert_eq!((run.verdict(), run.stdout.as_str()), expected, "{run:?}");
}

#[test]
fn closed_stdout_keeps_the_verdict() {
    let script = "yes | head -c 1000000; exit 3";
    let mut command = crucible(["run", "--wall", AMPLE, "--command", "--", "sh", "-c", script]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::new(child.wait_with_output().unwrap());
    assert_eq!((run.verdict(), run.status), ("exited 3", 1), "{run:?}");
}
