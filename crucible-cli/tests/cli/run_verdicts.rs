//! `crucible run`: each verdict that a command line can cause, and its exit status.

use super::support::{AMPLE, Run, in_repository, run, run_code};

#[track_caller]
fn assert_verdict(run: &Run, verdict: &str) {
    assert_eq!(run.verdict(), verdict, "{run:?}");
    assert_eq!(run.status, i32::from(verdict != "exited 0"), "{run:?}");
}

#[test]
fn output_goes_to_stdout_and_verdict_to_stderr() {
    let file = in_repository("examples/programs/hello.py");
    let run = run(["--wall", AMPLE, file.to_str().unwrap()]);
    assert_verdict(&run, "exited 0");
    assert!(run.stdout.starts_with("Hello from Python 3."), "{run:?}");
    assert_eq!((run.stdout.lines().count(), run.stderr.lines().count()), (1, 1), "{run:?}");
}

#[test]
fn file_extension_names_the_language() {
    for name in ["hello.sh", "hello.c"] {
        let path = in_repository("examples/programs").join(name);
        let run = run(["--wall", AMPLE, path.to_str().unwrap()]);
        assert_verdict(&run, "exited 0");
        assert!(run.stdout.starts_with("Hello from "), "{run:?}");
    }
}

#[test]
fn both_streams_are_passed_on() {
    let run = run_code("sh", "echo out; echo err >&2", &[]);
    assert_verdict(&run, "exited 0");
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.starts_with("err\nexited 0 ("), "{run:?}");
}

#[test]
fn exit_codes_are_not_interpreted() {
    for (script, verdict) in [
        ("exit 0", "exited 0"),
        ("exit 3", "exited 3"),
        // Shells and wrappers use 124 for a time-out and 137 for SIGKILL. Neither proves it.
        ("exit 124", "exited 124"),
        ("echo Killed >&2; exit 137", "exited 137"),
        ("exit 255", "exited 255"),
    ] {
        assert_verdict(&run_code("sh", script, &[]), verdict);
    }
}

#[test]
fn fatal_signal_is_named_in_the_verdict() {
    assert_verdict(&run_code("sh", "kill -SEGV $$", &[]), "signaled SIGSEGV");
    // A program that kills itself did not reach a limit.
    assert_verdict(&run_code("sh", "kill -KILL $$", &[]), "signaled SIGKILL");
}

#[test]
fn endless_sleep_reaches_the_wall_limit() {
    let run = run(["--wall", "1s", "--command", "--", "sleep", "infinity"]);
    assert_verdict(&run, "limit_exceeded wall");
}

#[test]
fn endless_loop_reaches_the_cpu_limit() {
    assert_verdict(&run_code("sh", "while :; do :; done", &["--cpu", "1s"]), "limit_exceeded cpu");
}

#[test]
fn touched_memory_reaches_the_memory_limit() {
    // Memory counts when its pages are touched.
    let hog =
        "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('survived')";
    let run = run_code("python", hog, &["--memory", "128MiB"]);
    assert_verdict(&run, "limit_exceeded memory");
    assert_eq!(run.stdout, "");
}

#[test]
fn fork_bomb_reaches_the_process_limit() {
    let bomb = "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass";
    assert_verdict(&run_code("python", bomb, &["--processes", "32"]), "limit_exceeded processes");
}

#[test]
fn endless_output_reaches_the_output_limit() {
    let run = run(["--wall", AMPLE, "--output", "1MiB", "--command", "--", "yes"]);
    assert_verdict(&run, "limit_exceeded output");
    // The output before the limit is printed.
    assert!(run.stdout.starts_with("y\ny\n"), "{} bytes", run.stdout.len());
}

#[test]
fn endless_file_reaches_the_disk_limit() {
    let run = run_code("sh", "yes > file", &["--disk", "1MiB"]);
    assert_verdict(&run, "limit_exceeded disk");
}

#[test]
fn missing_program_is_not_started() {
    let run = run(["--command", "--", "no-such-program"]);
    assert_verdict(&run, "not_started: no such program");
}

#[test]
fn compiler_output_is_printed() {
    let run = run_code("c", "int main(void) { return 0 }", &[]);
    assert_verdict(&run, "compile_failed: the compiler exited 1");
    assert!(run.stderr.contains("main.c:1:") && run.stderr.contains("error: expected"), "{run:?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn json_is_the_wire_form() {
    let run = run_code("sh", "printf out; printf err >&2; exit 3", &["--json"]);
    assert_verdict(&run, "exited 3");
    let json = run.json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["verdict"], serde_json::json!({"kind": "exited", "code": 3}));
    assert_eq!(json["blame"], "program");
    assert_eq!(json["engine"], "subprocess");
    assert_eq!(json["stdout"]["text"], "out");
    assert_eq!(json["stderr"]["text"], "err");
    assert_eq!(json["evidence"][0]["kind"], "waited");
    assert!(json["usage"]["wall_us"].as_u64().is_some_and(|us| us > 0), "{json}");
    assert!(json["enforcement"].as_array().is_some_and(|layers| !layers.is_empty()), "{json}");
    // Deserialization checks that the verdict follows from the evidence.
    let outcome: crucible::Outcome = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(outcome.verdict().to_string(), "exited 3");
    // Standard error has only the verdict.
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

#[test]
fn json_has_the_limit_and_the_compiler_output() {
    let run = run_code("sh", "while :; do :; done", &["--json", "--cpu", "1s"]);
    assert_verdict(&run, "limit_exceeded cpu");
    assert_eq!(
        run.json()["verdict"],
        serde_json::json!({"kind": "limit_exceeded", "limit": "cpu"})
    );
    assert_eq!(run.json()["blame"], "limit");

    let run = run_code("c", "int main(", &["--json"]);
    assert_eq!(run.json()["verdict"]["cause"], serde_json::json!({"kind": "exited", "code": 1}));
    assert!(
        run.json()["stderr"]["text"].as_str().is_some_and(|text| text.contains("error:")),
        "{run:?}"
    );
}

// The engine's tests check the enforcement. This checks that the option reaches the engine.
#[test]
fn allowed_endpoints_get_a_proxy() {
    let run_env = |options: &[&str]| {
        let run = run(["--json"].iter().chain(options).chain(&["--command", "--", "env"]));
        assert_eq!(run.status, 0, "{run:?}");
        run.stdout
    };
    let stdout = run_env(&["--allow", "a.test:443", "--allow", "b.test:80"]);
    assert!(stdout.contains("https_proxy=http://127.0.0.1:3128"), "{stdout}");
    assert!(stdout.contains("allow-list by proxy: 2 endpoints; 0 connected"), "{stdout}");
    let stdout = run_env(&[]);
    assert!(!stdout.contains("_proxy="), "{stdout}");
}
