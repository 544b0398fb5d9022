//! `evaluate`: what it refuses, and what it says about itself and about the host.

use super::support::{code, evaluate};

/// A usage error: status 2, nothing on standard output, and these words on standard error.
#[track_caller]
fn assert_refused(arguments: &[&str], words: &str) {
    let run = evaluate(arguments);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {run:?}");
    assert!(
        run.stderr.starts_with("error: ") && run.stderr.contains(words),
        "{arguments:?}: {run:?}"
    );
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}

#[test]
fn nothing_to_run_is_refused() {
    assert_refused(&[], "required");
    assert_refused(&["--command", "--"], "--command needs a command");
    assert_refused(&["--code", "print(1)"], "--language");
    assert_refused(&["--language", "sh", "--code", "exit 0", "file.sh"], "cannot be used with");
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    assert_refused(&["--language", "cobol", "--code", "x"], "python");
    assert_refused(
        &["--engine", "nosuch", "--command", "--", "true"],
        "no engine `nosuch`; there is subprocess",
    );
    assert_refused(&["--waive", "nosuch", "--command", "--", "true"], "seccomp");
    assert_refused(&["--nosuch", "--command", "--", "true"], "--nosuch");
}

#[test]
fn files_that_cannot_be_read_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("latin1.py"), b"print('\xe9')").unwrap();
    std::fs::write(path("notes.txt"), "text").unwrap();
    assert_refused(&[&path("missing.py")], "missing.py: No such file");
    assert_refused(&[directory.path().to_str().unwrap(), "--language", "sh"], "Is a directory");
    assert_refused(&[&path("latin1.py")], "latin1.py: it is not UTF-8");
    assert_refused(&[&path("notes.txt")], "its extension names no language");
    let command = ["--command", "--", "true"];
    for option in ["--stdin", "--input"] {
        assert_refused(
            &[&[option, &path("missing")], &command[..]].concat(),
            "missing: No such file",
        );
    }
}

#[test]
fn what_cannot_be_allowed_is_refused() {
    for endpoint in
        ["pypi.org", "127.0.0.1:80", "[::1]:80", "0x7f000001:80", "a.test:0", "a.test:port"]
    {
        assert_refused(
            &["--allow", endpoint, "--command", "--", "true"],
            "is not of the form `HOST:PORT`",
        );
    }
}

#[test]
fn limits_that_cannot_be_are_refused_by_name() {
    for (option, value, words) in [
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
        assert_refused(&[option, value, "--command", "--", "true"], words);
    }
}

#[test]
fn every_bad_limit_is_named_at_once() {
    let run = evaluate(["--memory", "0", "--processes", "0", "--command", "--", "true"]);
    assert_eq!(run.status, 2, "{run:?}");
    for field in ["limits.memory_bytes", "limits.processes"] {
        assert!(run.stderr.contains(field), "{run:?}");
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("into");
    for pattern in ["../*", "a/../../b", "/etc/*"] {
        let into = into.to_str().unwrap();
        let arguments = ["--collect", pattern, "--into", into, "--command", "--", "true"];
        assert_refused(&arguments, "collect.patterns[0]");
    }
    assert!(!into.exists(), "nothing ran, nothing came out");
    assert_refused(&["--input", "..", "--command", "--", "true"], "--input ..");
    assert_refused(&["--input", "/", "--command", "--", "true"], "--input /");
}

#[test]
fn an_input_in_the_place_of_the_source_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("main.sh");
    std::fs::write(&file, "exit 1").unwrap();
    let run = code("sh", "exit 0", &["--input", file.to_str().unwrap()]);
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("main.sh"), "{run:?}");
}

#[test]
fn collecting_needs_a_pattern_and_a_place() {
    assert_refused(&["--collect", "*", "--command", "--", "true"], "--into");
    assert_refused(&["--into", "x", "--command", "--", "true"], "--collect");
    assert_refused(&["--env", "NAME", "--command", "--", "true"], "NAME=VALUE");
    assert_refused(&["--env", "=x", "--command", "--", "true"], "not a name for a variable");
}

#[test]
fn doctor_names_every_layer_and_what_this_host_has_of_it() {
    let run = evaluate(["doctor"]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    for layer in crucible::Layer::ALL {
        let line =
            run.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(layer.name()));
        assert!(line.is_some_and(|line| line.starts_with("ok ")), "{layer}: {run:?}");
    }
    assert!(run.stdout.ends_with("this host can enforce every layer\n"), "{run:?}");
}

#[test]
fn doctor_has_a_form_for_programs() {
    let run = evaluate(["doctor", "--json"]);
    assert_eq!(run.status, 0, "{run:?}");
    let layers = run.json()["layers"].as_array().unwrap().clone();
    assert_eq!(layers.len(), crucible::Layer::ALL.len(), "{layers:?}");
    assert!(layers.iter().all(|layer| layer["available"] == true), "{layers:?}");
}

#[test]
fn help_and_version_are_no_errors() {
    let run = evaluate(["--help"]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    for word in ["--memory", "--collect", "doctor", "Exit status: 0 for `exited 0`"] {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
    let run = evaluate(["--version"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stdout.contains(env!("CARGO_PKG_VERSION")), "{run:?}");
}

#[test]
fn verbose_says_why_and_what_isolated_it() {
    let run = code("sh", "exit 0", &["--verbose"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stderr.contains("evidence: Waited"), "{run:?}");
    assert!(run.stderr.contains("layer seccomp: enforced"), "{run:?}");
}
