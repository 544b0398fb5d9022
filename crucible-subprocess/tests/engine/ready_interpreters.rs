//! Tests of interpreters that are started ahead of time. A program must not see a difference.

use std::time::{Duration, Instant};

use crucible_core::{
    Collect, Engine as _, EngineErrorKind, Evaluation, Language, Languages, Limit, Limits, Outcome,
    RunContext, Verdict,
};
use crucible_subprocess::{SubprocessBuilder, SubprocessEngine};

use super::support::{cgroups, engine, has_cgroups, members, unavailable_layers};

const MODULES: [&str; 4] = ["json", "random", "collections", "no_such_module"];
/// A CPU limit that a busy loop exceeds and an ordinary short program does not.
const CPU_LIMIT: Duration = Duration::from_millis(300);

fn engine_with_interpreters(count: usize) -> SubprocessEngine {
    let builder = SubprocessEngine::builder()
        .ready_interpreters(Language::python(), MODULES)
        .ready_interpreter_count(count);
    let builder = unavailable_layers()
        .iter()
        .fold(builder, |builder: SubprocessBuilder, layer| builder.waive(*layer));
    builder.build().unwrap()
}

fn wait_for(engine: &SubprocessEngine, count: u64) {
    let began = Instant::now();
    while engine.ready_interpreter_stats().ready < count {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            engine.ready_interpreter_stats()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn run(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    engine.run(evaluation, &RunContext::new()).await.unwrap()
}

/// Programs that inspect how they were started, and ways to end.
const PROGRAMS: [(&str, &str); 17] = [
    (
        "itself",
        "import sys, os\n\
         print(__name__, __file__, __doc__, __package__, __spec__, sys.argv, sys.orig_argv, sys.path[0])\n\
         print(sys.path, os.getcwd(), sorted(os.listdir('/box')), sys.flags, sys.dont_write_bytecode)\n\
         print(sorted(k for k in os.environ), os.environ.get('GIVEN'), sorted(globals()))\n\
         print(type(__builtins__), type(__loader__), 'sitecustomize' in sys.modules)",
    ),
    ("its input", "import sys\nprint(repr(sys.stdin.read()), sys.stdin.encoding)"),
    ("its input as bytes", "import os\nprint(os.read(0, 5), os.read(0, 100))"),
    ("an exception", "def f(n):\n    return 1 // n\n\nprint('before')\nf(0)"),
    ("a syntax error", "print('never')\nif True print('x')"),
    ("an exit code", "import sys\nsys.exit(3)"),
    ("an exit with a message", "raise SystemExit('enough')"),
    ("an interrupt", "raise KeyboardInterrupt"),
    ("a signal", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"),
    ("an abort", "import os\nos.abort()"),
    ("exit handlers", "import atexit\natexit.register(print, 'bye')\nprint('hello')"),
    (
        "threads and processes",
        "import threading, multiprocessing, os\n\
         def work(q, n):\n    q.put((n, __name__ in ('__main__', '__mp_main__')))\n\
         if __name__ == '__main__':\n\
         \x20   t = threading.Thread(target=print, args=('in a thread',)); t.start(); t.join()\n\
         \x20   c = multiprocessing.get_context('fork'); q = c.SimpleQueue()\n\
         \x20   p = c.Process(target=work, args=(q, 7)); p.start(); print(q.get()); p.join()\n\
         \x20   print(threading.active_count(), threading.current_thread().name)",
    ),
    (
        "its own source",
        "import inspect, __main__\ndef f():\n    pass\nprint(inspect.getsource(f), __main__.f is f)",
    ),
    ("a module that is not there", "import no_such_module"),
    (
        "finalizers",
        "import weakref\n\
         class Noisy:\n\
         \x20   def __init__(self, name): self.name = name\n\
         \x20   def __del__(self): print('gone', self.name)\n\
         mine = Noisy('mine')\n\
         weakref.finalize(mine, print, 'finalized')",
    ),
    (
        "interpreter state",
        "import sys, site, atexit, os\n\
         print(sys.path_importer_cache.get('/box/main.py', 'nothing'), 'usercustomize' in sys.modules)\n\
         print([hook.__qualname__ for hook in sys.path_hooks], 'gc' in sys.modules)\n\
         print(site.execusercustomize.__module__, site.execusercustomize.__name__)\n\
         before = sorted(sys.modules)\n\
         atexit.register(lambda: print(sorted(sys.modules) == before, os.getpid(), sys.modules['os'] is os))",
    ),
    (
        "a log that is written at the end",
        "import logging, logging.handlers, sys, threading, time\n\
         held = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))\n\
         log = logging.getLogger('x'); log.addHandler(held); log.warning('held')\n\
         threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
    ),
];

#[tokio::test]
async fn program_in_ready_interpreter_sees_no_difference() {
    let (warm, cold) = (engine_with_interpreters(1), engine());
    for (what, source) in PROGRAMS {
        if has_cgroups() {
            wait_for(&warm, 1);
        }
        let evaluation = Evaluation::python(source)
            .with_arg("first")
            .with_arg("")
            .with_arg("a b")
            .with_env("GIVEN", "it=is")
            .with_stdin("line\nand another");
        let (found, expected) = (run(&warm, &evaluation).await, run(&cold, &evaluation).await);
        assert_eq!(found.verdict(), expected.verdict(), "{what}: {:?}", found.evidence());
        assert_eq!(found.stdout.to_text(), expected.stdout.to_text(), "{what}");
        assert_eq!(found.stderr.to_text(), expected.stderr.to_text(), "{what}");
        assert_eq!(
            found.enforcement.reports().len(),
            expected.enforcement.reports().len(),
            "{what}"
        );
    }
    let expected = if has_cgroups() { PROGRAMS.len() as u64 } else { 0 };
    assert_eq!(
        warm.ready_interpreter_stats().hits,
        expected,
        "{:?}",
        warm.ready_interpreter_stats()
    );
}

#[tokio::test]
async fn preimported_modules_are_loaded() {
    let source = "
import sys
print(*(name in sys.modules for name in ('json', 'random', 'collections', 'no_such_module')))";
    let engine = engine_with_interpreters(1);
    if has_cgroups() {
        wait_for(&engine, 1);
    }
    let outcome = run(&engine, &Evaluation::python(source)).await;
    let expected =
        if has_cgroups() { "True True True False\n" } else { "False False False False\n" };
    assert_eq!(outcome.stdout.to_text(), expected, "{}", outcome.stderr.to_text());
}

#[tokio::test]
async fn interpreters_share_no_state() {
    let engine = engine_with_interpreters(2);
    let source = "import random, os, sys\n\
                  print(hash('x'), random.random(), id(object()), os.urandom(4), len(sys.modules))\n\
                  open('/tmp/left', 'x'); open('left', 'x'); sys.modules['mine'] = 1";
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        if has_cgroups() {
            wait_for(&engine, 2);
        }
        let outcome = run(&engine, &Evaluation::python(source)).await;
        assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 }, "{}", outcome.stderr.to_text());
        let text = outcome.stdout.to_text().into_owned();
        let [hash, random, ..] = *text.split(' ').collect::<Vec<_>>() else { panic!("{text}") };
        assert!(seen.insert(hash.to_owned()) && seen.insert(random.to_owned()), "{text}: {seen:?}");
    }
}

/// Limits count from the start of the program, not of the interpreter.
#[tokio::test]
async fn limits_count_from_program_start() {
    let engine = engine_with_interpreters(1);
    // The interpreter waits for longer than the wall limit. A program that is limited by its CPU
    // time has a wall limit that a busy machine does not reach.
    let limits = |wall: u64| Limits::new().with_wall(Duration::from_secs(wall)).with_cpu(CPU_LIMIT);
    for (source, limits, verdict) in [
        ("print('done')", limits(2), Verdict::Exited { code: 0 }),
        ("import time; time.sleep(60)", limits(2), Verdict::LimitExceeded { limit: Limit::Wall }),
        ("while True: pass", limits(40), Verdict::LimitExceeded { limit: Limit::Cpu }),
    ] {
        if has_cgroups() {
            wait_for(&engine, 1);
            std::thread::sleep(Duration::from_millis(2300));
        } else if matches!(verdict, Verdict::LimitExceeded { limit: Limit::Cpu }) {
            continue;
        }
        let outcome = run(&engine, &Evaluation::python(source).with_limits(limits)).await;
        assert_eq!(*outcome.verdict(), verdict, "{source}: {:?}", outcome.evidence());
    }
}

#[tokio::test]
async fn usage_excludes_interpreter_startup() {
    if !has_cgroups() {
        return;
    }
    let (warm, cold) = (engine_with_interpreters(1), engine());
    wait_for(&warm, 1);
    std::thread::sleep(Duration::from_millis(300));
    let evaluation = Evaluation::python("pass");
    let (found, expected) = (run(&warm, &evaluation).await, run(&cold, &evaluation).await);
    assert_eq!(warm.ready_interpreter_stats().hits, 1);
    let cpu = |outcome: &Outcome| outcome.usage.cpu_user + outcome.usage.cpu_system;
    assert!(
        cpu(&found) > Duration::ZERO && cpu(&found) < cpu(&expected),
        "{:?} {:?}",
        found.usage,
        expected.usage
    );
    assert!(found.usage.memory_peak_bytes > Some(1 << 20), "{:?}", found.usage);
}

#[tokio::test]
async fn unsuitable_evaluations_run_without_interpreter() {
    let engine = engine_with_interpreters(1);
    for (evaluation, stdout) in [
        (Evaluation::shell("echo shell"), "shell\n"),
        (Evaluation::python("print(hash('x'))").with_env("PYTHONHASHSEED", "0"), ""),
        (
            Evaluation::python("open('out', 'w').write('o')")
                .with_collect(Collect::matching(["out"])),
            "",
        ),
        (Evaluation::command(["/usr/bin/python3", "-c", "print(1)"]), "1\n"),
        (
            Evaluation::python("import sys; print(sys.executable)").with_env("PATH", "/usr/bin"),
            "/usr/bin/python3\n",
        ),
    ] {
        let outcome = run(&engine, &evaluation).await;
        assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 }, "{}", outcome.stderr.to_text());
        assert!(outcome.stdout.to_text().ends_with(stdout), "{}", outcome.stdout.to_text());
    }
    assert_eq!(engine.ready_interpreter_stats().hits, 0);
}

/// Arguments and variables beyond the capacity of a pipe reach the program.
#[tokio::test]
async fn long_arguments_reach_ready_interpreter() {
    let engine = engine_with_interpreters(1);
    if has_cgroups() {
        wait_for(&engine, 1);
    }
    let long = "x".repeat(100_000);
    let evaluation =
        Evaluation::python("import sys, os; print(len(sys.argv[1]), len(os.environ['LONG']))")
            .with_arg(long.clone())
            .with_env("LONG", long)
            .with_stdin("unread");
    let outcome = run(&engine, &evaluation).await;
    assert_eq!(outcome.stdout.to_text(), "100000 100000\n", "{}", outcome.stderr.to_text());
    assert_eq!(engine.ready_interpreter_stats().hits, u64::from(has_cgroups()));
}

/// A killed interpreter is not handed out. Only the statistics show it.
#[tokio::test]
async fn dead_interpreter_is_not_handed_out() {
    if !has_cgroups() {
        return;
    }
    let engine = engine_with_interpreters(1);
    wait_for(&engine, 1);
    let directories = cgroups(&engine);
    let began = Instant::now();
    let interpreter = loop {
        let is_one = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("python3"))
        };
        if let Some(interpreter) = members(&directories).into_iter().find(is_one) {
            break interpreter;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no interpreter is in a group");
        std::thread::sleep(Duration::from_millis(2));
    };
    let pid = rustix::process::Pid::from_raw(interpreter).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Before it is gone, the engine could hand it out, and the run would be lost.
    while members(&directories).contains(&interpreter) {
        assert!(began.elapsed() < Duration::from_secs(20), "the interpreter is alive");
        std::thread::sleep(Duration::from_millis(2));
    }
    let outcome = run(&engine, &Evaluation::python("print('there')")).await;
    assert_eq!(outcome.stdout.to_text(), "there\n", "{:?}", outcome.evidence());
    assert_eq!(
        engine.ready_interpreter_stats().failed,
        1,
        "{:?}",
        engine.ready_interpreter_stats()
    );
}

#[test]
fn unsupported_language_or_module_is_refused() {
    let sh = Languages::builtin().get("sh").unwrap().clone();
    let error = SubprocessEngine::builder().ready_interpreters(sh, [""; 0]).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(
        crucible_core::error_chain(&error).contains("Python 3 can"),
        "{}",
        crucible_core::error_chain(&error)
    );
    let error = SubprocessEngine::builder()
        .ready_interpreters(Language::python(), ["os; evil"])
        .build()
        .unwrap_err();
    assert!(crucible_core::error_chain(&error).contains("not the name of a module"), "{error}");
}
