//! `evaluate`: every verdict that a command line can bring about, and the exit status beside it.

use super::support::{AMPLE, Run, code, evaluate, in_project};

#[track_caller]
fn assert_verdict(run: &Run, verdict: &str) {
    assert_eq!(run.verdict(), verdict, "{run:?}");
    assert_eq!(run.status, i32::from(verdict != "exited 0"), "{run:?}");
}

#[test]
fn output_goes_to_stdout_and_the_verdict_to_stderr() {
    let run =
        evaluate(["--wall", AMPLE, in_project("examples/programs/hello.py").to_str().unwrap()]);
    assert_verdict(&run, "exited 0");
    assert!(run.stdout.starts_with("Hello from Python 3."), "{run:?}");
    assert_eq!((run.stdout.lines().count(), run.stderr.lines().count()), (1, 1), "{run:?}");
}

#[test]
fn the_other_programs_say_hello_too() {
    for name in ["hello.sh", "hello.c"] {
        let path = in_project("examples/programs").join(name);
        let run = evaluate(["--wall", AMPLE, path.to_str().unwrap()]);
        assert_verdict(&run, "exited 0");
        assert!(run.stdout.starts_with("Hello from "), "{run:?}");
    }
}

#[test]
fn both_streams_are_passed_on() {
    let run = code("sh", "echo out; echo err >&2", &[]);
    assert_verdict(&run, "exited 0");
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.starts_with("err\nexited 0 ("), "{run:?}");
}

#[test]
fn an_exit_code_is_what_it_is() {
    for (script, verdict) in [
        ("exit 0", "exited 0"),
        ("exit 3", "exited 3"),
        // What shells and wrappers say for a time-out and for SIGKILL is no proof of either.
        ("exit 124", "exited 124"),
        ("echo Killed >&2; exit 137", "exited 137"),
        ("exit 255", "exited 255"),
    ] {
        assert_verdict(&code("sh", script, &[]), verdict);
    }
}

#[test]
fn a_signal_is_named() {
    assert_verdict(&code("sh", "kill -SEGV $$", &[]), "signaled SIGSEGV");
    // A kill of its own is no limit.
    assert_verdict(&code("sh", "kill -KILL $$", &[]), "signaled SIGKILL");
}

#[test]
fn sleeping_for_ever_is_ended_at_the_wall_limit() {
    let run = evaluate(["--wall", "1s", "--command", "--", "sleep", "infinity"]);
    assert_verdict(&run, "limit_exceeded wall");
}

#[test]
fn computing_for_ever_is_ended_at_the_cpu_limit() {
    assert_verdict(&code("sh", "while :; do :; done", &["--cpu", "1s"]), "limit_exceeded cpu");
}

#[test]
fn using_up_memory_is_ended_at_the_memory_limit() {
    // Each page is touched: memory that is only asked for is not used.
    let hog =
        "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('survived')";
    let run = code("python", hog, &["--memory", "128MiB"]);
    assert_verdict(&run, "limit_exceeded memory");
    assert_eq!(run.stdout, "");
}

#[test]
fn a_fork_bomb_is_told_by_the_process_limit() {
    let bomb = "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass";
    assert_verdict(&code("python", bomb, &["--processes", "32"]), "limit_exceeded processes");
}

#[test]
fn endless_output_is_ended_at_the_output_limit() {
    let run = evaluate(["--wall", AMPLE, "--output", "1MiB", "--command", "--", "yes"]);
    assert_verdict(&run, "limit_exceeded output");
    // What came before the limit is shown.
    assert!(run.stdout.starts_with("y\ny\n"), "{} bytes", run.stdout.len());
}

#[test]
fn a_full_disk_is_told_by_the_disk_limit() {
    let run = code("sh", "yes > file", &["--disk", "1MiB"]);
    assert_verdict(&run, "limit_exceeded disk");
}

#[test]
fn a_program_that_is_not_there_was_not_started() {
    let run = evaluate(["--command", "--", "no-such-program"]);
    assert_verdict(&run, "not_started: no such program");
}

#[test]
fn a_compiler_has_its_say() {
    let run = code("c", "int main(void) { return 0 }", &[]);
    assert_verdict(&run, "compile_failed: the compiler exited 1");
    assert!(run.stderr.contains("main.c:1:") && run.stderr.contains("error: expected"), "{run:?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn json_is_the_wire_form() {
    let run = code("sh", "printf out; printf err >&2; exit 3", &["--json"]);
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
    // Reading checks that the verdict follows from the evidence.
    let outcome: crucible::Outcome = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(outcome.verdict().to_string(), "exited 3");
    // Nothing else is on standard error than the verdict.
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

#[test]
fn json_names_the_limit_and_has_a_compilers_words() {
    let run = code("sh", "while :; do :; done", &["--json", "--cpu", "1s"]);
    assert_verdict(&run, "limit_exceeded cpu");
    assert_eq!(
        run.json()["verdict"],
        serde_json::json!({"kind": "limit_exceeded", "limit": "cpu"})
    );
    assert_eq!(run.json()["blame"], "limit");

    let run = code("c", "int main(", &["--json"]);
    assert_eq!(run.json()["verdict"]["cause"], serde_json::json!({"kind": "exited", "code": 1}));
    assert!(
        run.json()["stderr"]["text"].as_str().is_some_and(|text| text.contains("error:")),
        "{run:?}"
    );
}

/// That it is enforced is for the engine's tests; here, that it is asked for.
#[test]
fn what_is_allowed_goes_through_the_proxy_alone() {
    let run = evaluate([
        "--json",
        "--allow",
        "a.test:443",
        "--allow",
        "b.test:80",
        "--command",
        "--",
        "env",
    ]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stdout.contains("https_proxy=http://127.0.0.1:3128"), "{run:?}");
    assert!(run.stdout.contains("allow-list by proxy: 2 endpoints; 0 connected"), "{run:?}");
    let run = evaluate(["--json", "--command", "--", "env"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(!run.stdout.contains("_proxy="), "{run:?}");
}
