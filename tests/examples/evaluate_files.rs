//! `evaluate`: what goes in and what comes out: input, files, environment, arguments.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::support::{AMPLE, Run, code, example};

#[test]
fn standard_input_is_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    fs::write(&file, "one\ntwo\n").unwrap();
    let run = code("sh", "cat", &["--stdin", file.to_str().unwrap()]);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "one\ntwo\n"), "{run:?}");
}

#[test]
fn standard_input_is_this_commands_own_if_asked_for() {
    let mut command = example("evaluate");
    command.args(["--wall", AMPLE, "--stdin", "-", "--command", "--", "cat"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "piped"), "{run:?}");
}

#[test]
fn without_an_input_there_is_an_empty_one() {
    let mut command = example("evaluate");
    // This command's own standard input is not the program's, unless that is said.
    command.args(["--wall", AMPLE, "--command", "--", "cat"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let own = child.stdin.take().unwrap();
    let run = Run::new(child.wait_with_output().unwrap());
    drop(own);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", ""), "{run:?}");
}

#[test]
fn files_and_directories_are_put_beside_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let (file, tree) = (directory.path().join("words.txt"), directory.path().join("tree"));
    fs::create_dir_all(tree.join("deep")).unwrap();
    fs::write(&file, "words\n").unwrap();
    fs::write(tree.join("top"), "top\n").unwrap();
    fs::write(tree.join("deep/leaf"), "leaf\n").unwrap();
    let script = "cat words.txt tree/top tree/deep/leaf; find . -type f | wc -l";
    let run =
        code("sh", script, &["--input", file.to_str().unwrap(), "--input", tree.to_str().unwrap()]);
    // Those three and the program's own source.
    assert_eq!(
        (run.verdict(), run.stdout.as_str()),
        ("exited 0", "words\ntop\nleaf\n4\n"),
        "{run:?}"
    );
}

#[test]
fn an_executable_file_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let tool = directory.path().join("tool");
    fs::write(&tool, "#!/bin/sh\necho tool\n").unwrap();
    let input = ["--input", tool.to_str().unwrap()];
    let run = code("sh", "./tool", &input);
    assert_eq!(run.verdict(), "exited 126", "{run:?}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&tool, mode).unwrap();
    let run = code("sh", "./tool", &input);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "tool\n"), "{run:?}");
}

#[test]
fn what_matches_is_brought_out() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("made/on/the/way");
    let script = "mkdir -p out/deep; echo a > out/a.txt; echo b > out/deep/b.txt; echo c > out/c.bin; echo d > d.txt";
    let run = code("sh", script, &["--collect", "out/**/*.txt", "--into", into.to_str().unwrap()]);
    assert_eq!(run.verdict(), "exited 0", "{run:?}");
    assert_eq!(fs::read_to_string(into.join("out/a.txt")).unwrap(), "a\n");
    assert_eq!(fs::read_to_string(into.join("out/deep/b.txt")).unwrap(), "b\n");
    assert!(!into.join("out/c.bin").exists() && !into.join("d.txt").exists(), "only what matches");
}

#[test]
fn a_link_is_not_followed_and_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("into");
    let run = code(
        "sh",
        "ln -s /etc/hostname link; echo real > real",
        &["--collect", "*", "--into", into.to_str().unwrap()],
    );
    assert!(run.stderr.contains("not collected: \"link\": not a regular file"), "{run:?}");
    assert_eq!(fs::read_to_string(into.join("real")).unwrap(), "real\n");
    // The name is not there at all, not even as a link that leads nowhere.
    assert!(fs::symlink_metadata(into.join("link")).is_err());
}

#[test]
fn a_link_given_as_input_arrives_as_what_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&target, "content").unwrap();
    symlink(&target, &link).unwrap();
    let run = code("sh", "test ! -L link && cat link", &["--input", link.to_str().unwrap()]);
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 0", "content"), "{run:?}");
}

#[test]
fn the_environment_is_what_was_given() {
    let run = code(
        "sh",
        "echo \"$GREETING\"; env | grep -c SECRET_OF_THE_HOST",
        &["--env", "GREETING=a=b c"],
    );
    // `grep -c` says 0 and exits with 1 where it found nothing.
    assert_eq!((run.verdict(), run.stdout.as_str()), ("exited 1", "a=b c\n0\n"), "{run:?}");
    let mut command = example("evaluate");
    command.env("SECRET_OF_THE_HOST", "x").args(["--wall", AMPLE, "--command", "--", "env"]);
    let run = Run::new(command.output().unwrap());
    assert_eq!(run.verdict(), "exited 0", "{run:?}");
    assert!(!run.stdout.contains("SECRET_OF_THE_HOST"), "{run:?}");
}

#[test]
fn arguments_are_passed_on_as_they_are() {
    let run = code("python", "import sys; print(sys.argv[1:])", &["--", "two words", "", "--json"]);
    assert_eq!(
        (run.verdict(), run.stdout.as_str()),
        ("exited 0", "['two words', '', '--json']\n"),
        "{run:?}"
    );
}

#[test]
fn a_reader_that_goes_away_leaves_the_verdict() {
    let mut command = example("evaluate");
    command.args(["--wall", AMPLE, "--command", "--", "sh", "-c", "yes | head -c 1000000; exit 3"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::new(child.wait_with_output().unwrap());
    assert_eq!((run.verdict(), run.status), ("exited 3", 1), "{run:?}");
}
