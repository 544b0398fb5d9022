//! A test that every engine gives the same verdicts to the same programs.
//!
//! Expected deviations are in a list with their reasons. The test also fails if a listed deviation
//! no longer occurs. Without a Docker daemon or an image (`ci/docker image`), the test skips the
//! container engines and prints a note. If `CI` or `CRUCIBLE_REQUIRE_DOCKER` is set, they are
//! required.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crucible::docker::DockerEngine;
use crucible::docker::Runtime;
use crucible::engine::{Deviation, EngineError, RunContext};
use crucible::{Engine, Evaluation, Limits, SubprocessEngine};
use futures::{StreamExt as _, stream};

const MIB: u64 = 1 << 20;

/// The verdicts as text, by program and engine.
type Verdicts = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

fn limits() -> Limits {
    Limits::new()
        .with_wall(Duration::from_secs(20))
        .with_cpu(Duration::from_secs(10))
        .with_memory_bytes(128 * MIB)
        .with_processes(32)
        .with_output_bytes(MIB)
        .with_disk_bytes(16 * MIB)
        .with_inodes(1000)
}

/// Expected deviations: engine, program, verdict, reason.
const DEVIATIONS: &[(&str, &str, &str, &str)] = &[
    ("gvisor", "fork_bomb", "exited 0", "its kernel refuses by RLIMIT_NPROC and counts no refusal"),
    (
        "gvisor",
        "thread_bomb",
        "exited 0",
        "its kernel refuses by RLIMIT_NPROC and counts no refusal",
    ),
    ("gvisor", "many_files", "exited 0", "its tmpfs has no limit on inodes"),
    (
        "docker",
        "mount",
        "exited 0",
        "the daemon's own filter refuses first, and does not report it",
    ),
    ("gvisor", "mount", "exited 0", "its kernel refuses, and does not report it"),
    (
        "docker",
        "unshare",
        "exited 0",
        "the daemon's own filter refuses first, and does not report it",
    ),
    ("gvisor", "unshare", "exited 0", "its kernel refuses, and does not report it"),
    ("docker", "bpf", "exited 0", "the daemon's own filter refuses first, and does not report it"),
    ("gvisor", "bpf", "exited 0", "its kernel refuses, and does not report it"),
];

fn programs() -> Vec<(&'static str, Evaluation)> {
    let sh = |script: &str| Evaluation::shell(script).with_limits(limits());
    let py = |source: &str| Evaluation::python(source).with_limits(limits());
    let c = |source: &str| Evaluation::source("c", source).with_limits(limits());
    let argv = |words: &[&str]| Evaluation::command(words.iter().copied()).with_limits(limits());
    // The expected limit is far below the other one, so that it is reached first on a busy machine
    // too.
    let sleeper = |evaluation: Evaluation| {
        let limits = evaluation.limits.clone().with_wall(Duration::from_secs(2));
        evaluation.with_limits(limits)
    };
    let spinner = |evaluation: Evaluation| {
        let limits = evaluation
            .limits
            .clone()
            .with_wall(Duration::from_secs(60))
            .with_cpu(Duration::from_secs(1));
        evaluation.with_limits(limits)
    };
    vec![
        ("true", argv(&["true"])),
        ("false", argv(&["false"])),
        ("exit_3", sh("exit 3")),
        ("exit_124", sh("exit 124")),
        ("exit_125", sh("exit 125")),
        ("exit_126", sh("exit 126")),
        ("exit_127", sh("exit 127")),
        ("exit_137", sh("exit 137")),
        ("exit_143", sh("exit 143")),
        ("exit_255", sh("exit 255")),
        ("prints_killed", sh("echo Killed >&2; exit 137")),
        ("prints_timeout", sh("echo 'Timeout error' >&2; exit 124")),
        ("prints_a_line_of_the_daemon", sh("echo 'service \"x\" is not running'; exit 1")),
        ("sigterm_itself", sh("kill -TERM $$")),
        ("sigkill_itself", sh("kill -KILL $$")),
        ("sigsegv_itself", sh("kill -SEGV $$")),
        ("sigpipe_itself", sh("kill -PIPE $$")),
        ("null_pointer", c("int main(void) { volatile int *p = 0; return *p; }")),
        ("abort", c("#include <stdlib.h>\nint main(void) { abort(); }")),
        ("division_by_zero", c("int main(int n, char **a) { (void)a; return 7 / (n - 1); }")),
        (
            "stack_overflow",
            c(
                "int f(volatile int n) { volatile char p[4096]; p[0] = n; return f(n + 1) + p[0]; } int main(void) { return f(0); }",
            ),
        ),
        ("illegal_instruction", c("int main(void) { __builtin_trap(); }")),
        ("syntax_error", c("int main(void) { return ; ; } }")),
        ("missing_header", c("#include <no/such/header.h>\nint main(void) { return 0; }")),
        ("hello_c", c("#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }")),
        ("exit_7_c", c("int main(void) { return 7; }")),
        ("python_exception", py("raise ValueError('x')")),
        ("python_exit", py("import sys; sys.exit(9)")),
        ("python_syntax_error", py("def f(:")),
        ("python_os_exit", py("import os; os._exit(5)")),
        ("python_recursion", py("def f(): f()\nf()")),
        (
            "python_threads",
            py(
                "import threading\nt = [threading.Thread(target=sum, args=([1],)) for _ in range(8)]\n[x.start() for x in t]; [x.join() for x in t]",
            ),
        ),
        (
            "python_processes",
            py(
                "import multiprocessing as m\nif __name__ == '__main__':\n    p = m.Process(target=print, args=('x',)); p.start(); p.join(); exit(p.exitcode)",
            ),
        ),
        ("no_such_program", argv(&["no-such-program"])),
        ("no_such_path", argv(&["/no/such/program"])),
        ("a_directory", argv(&["/tmp"])),
        ("not_executable", argv(&["./data"]).with_file("data", "x")),
        (
            "no_program",
            argv(&["./data"]).with_input_file(
                crucible::model::InputFile::new("data", vec![0_u8; 64]).with_executable(),
            ),
        ),
        (
            "no_interpreter",
            argv(&["./x"]).with_input_file(
                crucible::model::InputFile::new("x", "#!/no/such/sh\n").with_executable(),
            ),
        ),
        ("sleep", sleeper(sh("sleep 100"))),
        ("sleep_ignoring_signals", sleeper(sh("trap '' TERM INT HUP; sleep 100; sleep 100"))),
        ("stops_itself", sleeper(sh("kill -STOP $$; exit 3"))),
        ("spin", spinner(py("while True: pass"))),
        ("spin_in_a_child", spinner(sh("sh -c 'while :; do :; done'"))),
        ("spin_in_two", spinner(sh("sh -c 'while :; do :; done' & while :; do :; done"))),
        ("reads_without_end", spinner(sh("cat /dev/zero > /dev/null"))),
        ("memory", py("x = bytearray(256 << 20)")),
        ("memory_bit_by_bit", py("x = []\nwhile True: x.append(bytearray(1 << 20))")),
        (
            "memory_in_a_child",
            sh("python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 20))'; exit 0"),
        ),
        ("endless_stdout", sh("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")),
        ("endless_stderr", sh("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >&2; done")),
        ("much_output", sh("head -c 500000 /dev/zero")),
        (
            "full_tmp",
            py(
                "f = open('/tmp/f', 'wb')\ntry:\n    while True: f.write(bytes(1 << 20))\nexcept OSError: pass",
            ),
        ),
        ("full_box", sh("head -c 100000000 /dev/zero > f 2>/dev/null; exit 0")),
        ("full_and_tidied", sh("head -c 100000000 /dev/zero > f 2>/dev/null; rm f; exit 4")),
        (
            "fork_bomb",
            c(
                "#include <unistd.h>\nint main(void) { for (int n = 0; n < 100; n++) { int p = fork(); if (p == 0) { sleep(5); _exit(0); } if (p < 0) break; } return 0; }",
            ),
        ),
        (
            "thread_bomb",
            py(
                "import threading, time\ntry:\n    for _ in range(100): threading.Thread(target=time.sleep, args=(3,), daemon=True).start()\nexcept RuntimeError: pass",
            ),
        ),
        (
            "many_files",
            py(
                "try:\n    for n in range(5000): open(f'/tmp/{n}', 'w').close()\nexcept OSError: pass",
            ),
        ),
        ("leaves_a_daemon", sh("setsid sleep 1000 >/dev/null 2>&1 & exit 0")),
        ("leaves_one_that_holds_stdout", sh("sleep 1000 & exit 0")),
        ("closes_everything", sh("exec 0<&- 1>&- 2>&-; exit 0")),
        ("reads_stdin", sh("cat; exit 0").with_stdin("x".repeat(200_000))),
        ("ignores_stdin", sh("exit 0").with_stdin("x".repeat(2_000_000))),
        ("writes_to_the_root", sh("touch /x 2>/dev/null && exit 1; exit 0")),
        (
            "becomes_root",
            py(
                "import os\ntry:\n    os.setuid(0)\nexcept OSError: raise SystemExit(0)\nraise SystemExit(1)",
            ),
        ),
        (
            "connects",
            py(
                "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 22), 1)\nexcept OSError: raise SystemExit(0)\nraise SystemExit(1)",
            ),
        ),
        (
            "mount",
            py("import ctypes\nctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
        ),
        ("unshare", py("import ctypes\nctypes.CDLL(None).unshare(0x10000000)")),
        ("bpf", py("import ctypes\nctypes.CDLL(None).syscall(321, 0, 0, 0)")),
    ]
}

async fn containers(runtime: Runtime) -> Result<Arc<dyn Engine>, String> {
    match DockerEngine::builder().image("crucible-local:latest").runtime(runtime).build().await {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(error) => {
            let reason = crucible::model::error_chain(&error);
            let is_required = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            assert!(!["CI", "CRUCIBLE_REQUIRE_DOCKER"].into_iter().any(is_required), "{reason}");
            Err(reason)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_engine_gives_the_same_verdict() {
    let mut engines: Vec<(&'static str, Arc<dyn Engine>)> = Vec::new();
    engines.push(("subprocess", Arc::new(SubprocessEngine::new().unwrap())));
    for (name, runtime) in [("docker", Runtime::Default), ("gvisor", Runtime::named("runsc"))] {
        match containers(runtime).await {
            Ok(engine) => engines.push((name, engine)),
            Err(reason) => eprintln!("SKIPPED: {name}: {reason}"),
        }
    }
    let programs = programs();
    assert!(programs.len() >= 60, "{}", programs.len());
    let mut verdicts = Verdicts::new();
    for (engine_name, engine) in &engines {
        let runs = programs.iter().map(|(name, evaluation)| async move {
            let context = RunContext::new();
            let mut result = engine.run(evaluation, &context).await;
            // If the whole sandbox ends, the daemon sometimes learns of the end without the reason.
            // A retry is correct then.
            for _ in 0..4 {
                let may_be_lost = engine.info().differs(Deviation::OutOfMemoryEndsAll);
                if may_be_lost && matches!(result, Err(EngineError::Lost { .. })) {
                    result = engine.run(evaluation, &context).await;
                }
            }
            let verdict = match result {
                Ok(outcome) => outcome.verdict().to_string(),
                Err(error) => {
                    format!("the infrastructure failed: {}", crucible::model::error_chain(&error))
                }
            };
            (*name, verdict)
        });
        let results: Vec<_> = stream::iter(runs).buffered(3).collect().await;
        for (name, verdict) in results {
            verdicts.entry(name).or_default().insert(engine_name, verdict);
        }
    }
    let mut wrong = Vec::new();
    for (name, by_engine) in &verdicts {
        let first = &by_engine["subprocess"];
        for (engine, verdict) in by_engine.iter().filter(|(engine, _)| **engine != "subprocess") {
            let listed = DEVIATIONS.iter().find(|(e, n, ..)| e == engine && n == name);
            let as_expected = match listed {
                Some((_, _, wanted, _)) => verdict == wanted && verdict != first,
                None => verdict == first,
            };
            if !as_expected {
                wrong.push(format!("{name}: {first}; {engine}: {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} programs on {} engines", programs.len(), engines.len());
}
