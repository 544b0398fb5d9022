//! HumanEval: 164 small programs that a model could have written, beside how most hosts begin: Python's `subprocess.run` for each.

use std::path::Path;
use std::time::{Duration, Instant};

use crucible::{Engine as _, Evaluation, Language, RunContext, SubprocessEngine};
use futures::StreamExt as _;

use crate::problems::problems;
use crate::report::{Report, Table, round};
use crate::rivals::{self, PYTHON, has};
use crate::scale::Scale;
use crate::start::runtime;
use crate::support::{Order, quantile, ratio};

/// What the problems import.
const MODULES: [&str; 8] =
    ["typing", "math", "random", "copy", "string", "collections", "re", "hashlib"];
const AT_ONCE: [usize; 2] = [1, 8];
/// The host that is compared with, as most begin: a whole interpreter a program, and no isolation.
const NAIVE: &str = "import concurrent.futures, json, subprocess, sys, time\n\
    sources, at_once = json.load(open(sys.argv[1])), int(sys.argv[2])\n\
    def run(source):\n    \
    return subprocess.run([sys.executable, '-c', source], capture_output=True).returncode == 0\n\
    began = time.perf_counter()\n\
    if at_once == 1:\n    right = sum(map(run, sources))\n\
    else:\n    right = sum(concurrent.futures.ThreadPoolExecutor(at_once).map(run, sources))\n\
    print(time.perf_counter() - began, right)";

const NAIVE_NAME: &str = "a host in Python, subprocess.run";

/// Its key, its name, and how long it takes for all problems, so many at once.
type Subject<'a> = (&'static str, &'static str, Box<dyn Fn(usize) -> Duration + 'a>);

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(PYTHON, "python3") {
        return;
    }
    let Some(sources) = problems(scale.problems) else { return };
    let file = tempfile::NamedTempFile::new().expect("a file");
    serde_json::to_writer(&file, &sources).expect("the problems in a file");
    let (cold, plain, importing) =
        (SubprocessEngine::new().expect("an engine"), warm(&[]), warm(&MODULES));
    let by_warm = |engines: &[SubprocessEngine; 2], at_once: usize| {
        let engine = &engines[usize::from(at_once > 1)];
        settle(engine, waiting(at_once));
        all(engine, at_once, &sources)
    };
    let subjects: [Subject<'_>; 4] = [
        ("naive", NAIVE_NAME, Box::new(|at_once| naive(file.path(), at_once, sources.len()))),
        ("cold", "crucible, cold", Box::new(|at_once| all(&cold, at_once, &sources))),
        ("warm", "crucible, warm", Box::new(|at_once| by_warm(&plain, at_once))),
        (
            "warm_modules",
            "crucible, warm, 8 modules",
            Box::new(|at_once| by_warm(&importing, at_once)),
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
    // Whatever is not right stops the measurement.
    report.set("humaneval", "right", sources.len());
    let cell = |row: usize, column: usize| {
        format!("{:.2} s ({:.2})", medians[row][column].as_secs_f64(), ratio(row, column))
    };
    report.add(Table {
        name: "humaneval",
        title: "HumanEval".to_owned(),
        note: format!(
            "{} problems of HumanEval, each with its solution and its tests, one after another and eight at once: how long all take; in \
             brackets the ratio to a host in Python that calls `subprocess.run` for each, without any isolation. All are right in each. \
             Few of them import anything, and a machine that is busy all the time gains nothing by what was imported ahead of time and is \
             not used: warm interpreters have imported nothing in one row, and `{}` in the other.",
            sources.len(),
            MODULES.join("`, `")
        ),
        columns: vec!["one after another", "8 at once"],
        rows: (0..subjects.len()).map(|row| (subjects[row].1.to_owned(), vec![cell(row, 0), cell(row, 1)])).collect(),
        bars: (0..subjects.len()).map(|row| (subjects[row].1.to_owned(), medians[row][0].as_secs_f64())).collect(),
        curve: None,
        unit: "s for all, one after another",
    });
}

/// An engine for each of [`AT_ONCE`], with interpreters that have imported these.
fn warm(modules: &[&str]) -> [SubprocessEngine; AT_ONCE.len()] {
    AT_ONCE.map(|at_once| {
        let builder = SubprocessEngine::builder()
            .ready_interpreters(Language::python(), modules.iter().copied());
        builder.ready_interpreter_count(waiting(at_once)).build().expect("an engine")
    })
}

/// How many interpreters wait: where one program runs, the next is started meanwhile.
fn waiting(at_once: usize) -> usize {
    at_once.max(2)
}

/// What the host in Python measures itself.
fn naive(sources: &Path, at_once: usize, count: usize) -> Duration {
    let sources = sources.to_str().expect("a path in UTF-8");
    let output = rivals::standard(&[PYTHON, "-c", NAIVE, sources, &at_once.to_string()]);
    let text = String::from_utf8_lossy(&output);
    let (seconds, right) = text.trim().split_once(' ').expect("seconds, and how many are right");
    assert_eq!(right, count.to_string(), "the naive host has wrong ones");
    Duration::from_secs_f64(seconds.parse().expect("seconds"))
}

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

/// Those that wait are there, and have had time to import.
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
