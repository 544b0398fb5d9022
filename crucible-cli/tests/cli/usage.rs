//! Refused arguments, help, versions and host reports.

use super::support::{Run, crucible, run, run_code};

/// Asserts a usage error of `crucible run` whose message contains this text.
#[track_caller]
fn assert_refused(arguments: &[&str], text: &str) {
    let run = run(arguments);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {run:?}");
    assert!(
        run.stderr.starts_with("error: ") && run.stderr.contains(text),
        "{arguments:?}: {run:?}"
    );
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}

#[test]
fn missing_program_is_refused() {
    assert_refused(&[], "required");
    assert_refused(&["--command", "--"], "--command needs a command\nfix: ");
    assert_refused(&["--code", "print(1)"], "--language");
    assert_refused(&["--language", "sh", "--code", "exit 0", "file.sh"], "cannot be used with");
}

#[test]
fn unknown_name_is_refused_with_the_known_names() {
    assert_refused(&["--language", "cobol", "--code", "x"], "python");
    let command = ["--command", "--", "true"];
    for (option, value, text) in
        [("--engine", "nosuch", "available: subprocess"), ("--waive", "nosuch", "seccomp")]
    {
        assert_refused(&[&[option, value], &command[..]].concat(), text);
    }
    assert_refused(&["--nosuch", "--command", "--", "true"], "--nosuch");
}

#[test]
fn unreadable_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("latin1.py"), b"print('\xe9')").unwrap();
    std::fs::write(path("notes.txt"), "text").unwrap();
    assert_refused(&[&path("missing.py")], "missing.py: No such file");
    assert_refused(&[directory.path().to_str().unwrap(), "--language", "sh"], "Is a directory");
    assert_refused(&[&path("latin1.py")], "latin1.py: not UTF-8");
    assert_refused(&[&path("notes.txt")], "its extension names no language\nfix: ");
    let command = ["--command", "--", "true"];
    for option in ["--stdin", "--input"] {
        let missing = path("missing");
        let arguments = [&[option, missing.as_str()], &command[..]].concat();
        assert_refused(&arguments, "missing: No such file");
    }
}

#[test]
fn invalid_endpoint_is_refused() {
    for endpoint in
        ["pypi.org", "127.0.0.1:80", "[::1]:80", "0x7f000001:80", "a.test:0", "a.test:port"]
    {
        assert_refused(&["--allow", endpoint, "--command", "--", "true"], "HOST:PORT");
    }
}

#[test]
fn invalid_limit_is_refused_by_name() {
    for (option, value, text) in [
        ("--memory", "0", "limits.memory_bytes"),
        ("--memory", "1KiB", "limits.memory_bytes"),
        ("--memory", "99999999999TiB", "limits.memory_bytes"),
        ("--memory", "many", "--memory"),
        ("--wall", "0", "limits.wall_us"),
        ("--wall", "1000years", "limits.wall_us"),
        ("--wall", "5parsecs", "--wall"),
        ("--wall", "nan", "--wall"),
        ("--cpu", "0s", "limits.cpu_us"),
        ("--processes", "0", "limits.processes"),
        ("--processes", "99999999999", "--processes"),
        ("--output", "0", "limits.output_bytes"),
        ("--disk", "0", "limits.disk_bytes"),
        ("--inodes", "0", "limits.inodes"),
        ("--open-files", "0", "limits.open_files"),
    ] {
        assert_refused(&[option, value, "--command", "--", "true"], text);
    }
}

#[test]
fn all_invalid_limits_are_reported_together() {
    let run = run(["--memory", "0", "--processes", "0", "--command", "--", "true"]);
    assert_eq!(run.status, 2, "{run:?}");
    for field in ["limits.memory_bytes", "limits.processes"] {
        assert!(run.stderr.contains(field), "{run:?}");
    }
}

#[test]
fn path_outside_the_sandbox_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("into");
    for pattern in ["../*", "a/../../b", "/etc/*"] {
        let into = into.to_str().unwrap();
        let arguments = ["--collect", pattern, "--into", into, "--command", "--", "true"];
        assert_refused(&arguments, "collect.patterns[0]");
    }
    assert!(!into.exists(), "the program did not run");
    assert_refused(&["--input", "..", "--command", "--", "true"], "--input ..");
    assert_refused(&["--input", "/", "--command", "--", "true"], "--input /");
}

#[test]
fn input_with_the_name_of_the_source_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("main.sh");
    std::fs::write(&file, "exit 1").unwrap();
    let run = run_code("sh", "exit 0", &["--input", file.to_str().unwrap()]);
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("main.sh"), "{run:?}");
}

#[test]
fn incomplete_option_is_refused() {
    assert_refused(&["--collect", "*", "--command", "--", "true"], "--into");
    assert_refused(&["--into", "x", "--command", "--", "true"], "--collect");
    assert_refused(&["--env", "NAME", "--command", "--", "true"], "NAME=VALUE");
    assert_refused(&["--env", "=x", "--command", "--", "true"], "env");
}

#[test]
fn attack_without_a_match_is_refused() {
    let run = Run::of(&mut crucible(["attack", "--only", "nosuch"]));
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{run:?}");
    assert!(run.stderr.contains("\nfix: see `crucible attack --list`"), "{run:?}");
}

#[test]
fn doctor_reports_every_layer() {
    let run = Run::of(&mut crucible(["doctor"]));
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    for layer in crucible::model::Layer::ALL {
        let line =
            run.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(layer.name()));
        assert!(line.is_some_and(|line| line.starts_with("ok ")), "{layer}: {run:?}");
    }
    assert!(run.stdout.ends_with("this host can enforce every layer\n"), "{run:?}");
}

#[test]
fn doctor_json_has_every_layer() {
    let run = Run::of(&mut crucible(["doctor", "--json"]));
    assert_eq!(run.status, 0, "{run:?}");
    let layers = run.json()["layers"].as_array().unwrap().clone();
    assert_eq!(layers.len(), crucible::model::Layer::ALL.len(), "{layers:?}");
    assert!(layers.iter().all(|layer| layer["available"] == true), "{layers:?}");
}

#[test]
fn help_and_version_succeed() {
    let run_help = run(["--help"]);
    assert_eq!((run_help.status, run_help.stderr.as_str()), (0, ""), "{run_help:?}");
    for text in ["--memory", "--collect", "Exit status: 0 for `exited 0`"] {
        assert!(run_help.stdout.contains(text), "{text}: {run_help:?}");
    }
    let version = Run::of(&mut crucible(["--version"]));
    assert_eq!(version.status, 0, "{version:?}");
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn verbose_prints_evidence_and_layers() {
    let run = run_code("sh", "exit 0", &["--verbose"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stderr.contains("evidence: Waited"), "{run:?}");
    assert!(run.stderr.contains("layer seccomp: enforced"), "{run:?}");
}

#[test]
fn invalid_log_directives_are_refused() {
    let run = Run::of(crucible(["doctor"]).env("RUST_LOG", "crucible=loud"));
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.starts_with("error: cannot parse RUST_LOG: "), "{run:?}");
}
