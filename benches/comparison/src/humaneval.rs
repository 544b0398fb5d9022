//! HumanEval: 164 small programs, beside a host that calls Python's `subprocess.run` for each.

use std::path::Path;
use std::time::{Duration, Instant};

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, Language, SubprocessEngine};
use futures::StreamExt as _;

use crate::peers::{self, PYTHON, has};
use crate::problems::problems;
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::runtime;
use crate::support::{Order, quantile, ratio};

/// The modules that the problems import.
const MODULES: [&str; 8] =
    ["typing", "math", "random", "copy", "string", "collections", "re", "hashlib"];
/// The numbers of parallel programs.
const AT_ONCE: [usize; 2] = [1, 8];
/// The peer: one interpreter per program, without isolation.
const NAIVE: &str = "import concurrent.futures, json, subprocess, sys, time\n\
    sources, at_once = json.load(open(sys.argv[1])), int(sys.argv[2])\n\
    def run(source):\n    \
    return subprocess.run([sys.executable, '-c', source], capture_output=True).returncode == 0\n\
    began = time.perf_counter()\n\
    if at_once == 1:\n    right = sum(map(run, sources))\n\
    else:\n    right = sum(concurrent.futures.ThreadPoolExecutor(at_once).map(run, sources))\n\
    print(time.perf_counter() - began, right)";

/// The name of the peer in the table.
const NAIVE_NAME: &str = "a host in Python, subprocess.run";

/// A key, a name, and the function that measures all problems with the given parallelism.
type Subject<'a> = (&'static str, &'static str, Box<dyn Fn(usize) -> Duration + 'a>);

/// Measures the time to run all problems.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(PYTHON, "python3") {
        return;
    }
    let Some(sources) = problems(scale.problems) else { return };
    let file = tempfile::NamedTempFile::new().expect("a file");
    serde_json::to_writer(&file, &sources).expect("the problems are written to a file");
    let (cold, plain, importing) =
        (SubprocessEngine::new().expect("an engine"), ready_engines(&[]), ready_engines(&MODULES));
    let by_ready = |engines: &[SubprocessEngine; 2], at_once: usize| {
        let engine = &engines[usize::from(at_once > 1)];
        settle(engine, waiting(at_once));
        all(engine, at_once, &sources)
    };
    let subjects: [Subject<'_>; 4] = [
        ("naive", NAIVE_NAME, Box::new(|at_once| naive(file.path(), at_once, sources.len()))),
        ("cold", "crucible, cold", Box::new(|at_once| all(&cold, at_once, &sources))),
        ("ready", "crucible, ready interpreters", Box::new(|at_once| by_ready(&plain, at_once))),
        (
            "ready_modules",
            "crucible, ready interpreters, 8 modules",
            Box::new(|at_once| by_ready(&importing, at_once)),
        ),
    ];
    let mut times = [const { [const { Vec::new() }; AT_ONCE.len()] }; 4];
    let mut order = Order::new();
    for _ in 0..scale.problem_passes {
        for (column, at_once) in AT_ONCE.into_iter().enumerate() {
            for index in order.shuffled(subjects.len()) {
                times[index][column].push((subjects[index].2)(at_once));
            }
        }
    }
    let medians = times.map(|row| row.map(|times| quantile(&times, 0.5)));
    let ratio = |row: usize, column: usize| ratio(medians[row][column], medians[0][column]);
    for (row, (key, ..)) in subjects.iter().enumerate() {
        for (column, suffix) in ["", "_8"].into_iter().enumerate() {
            report.set(
                "humaneval",
                &format!("{key}{suffix}_s"),
                round(medians[row][column].as_secs_f64()),
            );
            if row > 0 {
                report.set("humaneval", &format!("{key}_ratio{suffix}"), round(ratio(row, column)));
            }
        }
    }
    // A wrong result aborts the measurement.
    report.set("humaneval", "right", sources.len());
    let cell = |row: usize, column: usize| {
        format!("{:.2} s ({:.2})", medians[row][column].as_secs_f64(), ratio(row, column))
    };
    report.add(Table {
        name: "humaneval",
        title: "HumanEval".to_owned(),
        note: format!(
            "{} problems of HumanEval, each with its solution and its tests, in sequence and eight \
             in parallel: the time for all; in brackets the ratio to a host in Python that calls \
             `subprocess.run` for each, without any isolation. All results are correct. Few of \
             the programs import anything, and on a busy machine unused imports cost more than \
             they save: ready interpreters have imported nothing in one row, and `{}` in the \
             other.",
            sources.len(),
            MODULES.join("`, `")
        ),
        columns: vec!["in sequence", "8 in parallel"],
        rows: (0..subjects.len())
            .map(|row| (subjects[row].1.to_owned(), vec![cell(row, 0), cell(row, 1)]))
            .collect(),
        bars: (0..subjects.len())
            .map(|row| (subjects[row].1.to_owned(), medians[row][0].as_secs_f64()))
            .collect(),
        curve: None,
        unit: "s for all, in sequence",
    });
}

/// Creates an engine per entry of [`AT_ONCE`], with ready interpreters that imported the modules.
fn ready_engines(modules: &[&str]) -> [SubprocessEngine; AT_ONCE.len()] {
    AT_ONCE.map(|at_once| {
        let builder = SubprocessEngine::builder()
            .ready_interpreters(Language::python(), modules.iter().copied());
        builder.ready_interpreter_count(waiting(at_once)).build().expect("an engine")
    })
}

/// Returns the number of ready interpreters: the next one starts while a program runs.
fn waiting(at_once: usize) -> usize {
    at_once.max(2)
}

/// Returns the time that the Python host measures.
fn naive(sources: &Path, at_once: usize, count: usize) -> Duration {
    let sources = sources.to_str().expect("a path in UTF-8");
    let output = peers::standard(&[PYTHON, "-c", NAIVE, sources, &at_once.to_string()]);
    let text = String::from_utf8_lossy(&output);
    let (seconds, right) =
        text.trim().split_once(' ').expect("seconds and the number of correct results");
    assert_eq!(right, count.to_string(), "the Python host has wrong results");
    Duration::from_secs_f64(seconds.parse().expect("seconds"))
}

/// Returns the time to run all problems on an engine.
fn all(engine: &SubprocessEngine, at_once: usize, sources: &[String]) -> Duration {
    let began = Instant::now();
    runtime().block_on(async {
        let runs = sources.iter().map(|source| async move {
            let evaluation = Evaluation::python(source.as_str());
            let outcome = engine.run(&evaluation, &RunContext::new()).await.expect("a run");
            assert!(outcome.is_success(), "{}: {}", outcome.verdict(), outcome.stderr.to_text());
        });
        futures::stream::iter(runs).buffer_unordered(at_once).collect::<()>().await;
    });
    began.elapsed()
}

/// Waits until the interpreters are ready and have had time to import.
fn settle(engine: &SubprocessEngine, waiting: usize) {
    let began = Instant::now();
    while engine.ready_interpreter_stats().ready < waiting as u64 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            engine.ready_interpreter_stats()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(60) * u32::try_from(waiting).unwrap_or(1));
}
