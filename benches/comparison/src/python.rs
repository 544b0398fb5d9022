//! Python: the interpreter's start dominates the cost of a small program.

use std::time::{Duration, Instant};

use crucible::{Evaluation, Language, SubprocessEngine};

use crate::bare::Bare;
use crate::peers::{self, PYTHON, has};
use crate::report::{Report, Table};
use crate::scale::Scale;
use crate::start::{run, runtime};
use crate::support::{Case, Order};

/// Commonly imported modules.
const MODULES: [&str; 12] = [
    "json",
    "re",
    "math",
    "random",
    "collections",
    "itertools",
    "datetime",
    "decimal",
    "functools",
    "string",
    "typing",
    "os",
];
/// The number of ready interpreters.
const READY: usize = 2;
/// The time that a new interpreter gets for its imports.
const IMPORTED: Duration = Duration::from_millis(60);
/// The number of warm-up rounds.
const WARM_UP_ROUNDS: usize = 2;
/// A host in Python that uses `subprocess.run`.
const NAIVE: &str = "import subprocess, sys, time\n\
    for _ in range(int(sys.argv[1])):\n    began = time.perf_counter()\n    \
    subprocess.run([sys.executable, '-I', '-c', 'pass'], capture_output=True, check=True)\n    \
    print(time.perf_counter() - began)";

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(PYTHON, "python3") {
        return;
    }
    let runtime = runtime();
    let imports = format!("import {}", MODULES.join(", "));
    let ready_engines = |modules: &[&str]| {
        let builder = SubprocessEngine::builder()
            .ready_interpreters(Language::python(), modules.iter().copied());
        builder.ready_interpreter_count(READY).build().expect("an engine")
    };
    let (plain, with_modules) = (ready_engines(&[]), ready_engines(&MODULES));
    let cold = SubprocessEngine::new().expect("an engine");
    let (pass, importing) = (Evaluation::python("pass"), Evaluation::python(imports.clone()));
    let bare = Bare::new(&[PYTHON, "-I", "-c", "pass"], 0);
    let bare_importing = Bare::new(&[PYTHON, "-I", "-c", &imports], 0);
    let mut cases = [
        Case::new("bare python3 -I -c pass", || drop(bare.run())),
        Case::new("crucible, cold", || run(&runtime, &cold, &pass)),
        Case::new("crucible, ready", || run(&runtime, &plain, &pass)),
    ];
    let mut imported = [
        Case::new("bare python3, 12 modules", || drop(bare_importing.run())),
        Case::new("crucible, cold, 12 modules", || run(&runtime, &cold, &importing)),
        Case::new("crucible, ready, 12 modules", || run(&runtime, &with_modules, &importing)),
    ];
    let mut order = Order::new();
    for round in 0..scale.python_rounds + WARM_UP_ROUNDS {
        for index in order.shuffled(cases.len() + imported.len()) {
            // An interpreter must be ready and have finished its imports.
            settle(&plain);
            settle(&with_modules);
            std::thread::sleep(IMPORTED);
            let case = match index.checked_sub(cases.len()) {
                None => &mut cases[index],
                Some(index) => &mut imported[index],
            };
            let began = Instant::now();
            (case.run)();
            if round >= WARM_UP_ROUNDS {
                case.times.push(began.elapsed());
            }
        }
    }
    report.set_case("python_cold", &cases[1], &cases[0]);
    report.set_case("python_ready", &cases[2], &cases[0]);
    report.set_case("python_ready_imports", &imported[2], &imported[0]);
    report.add(Table::of_cases(
        "python",
        "Python",
        "`pass`, beside an interpreter without any isolation. Ready: the interpreter was started \
         ahead of time, in its own sandbox with every layer, and runs this one program. Without a \
         ready interpreter the run is cold: a machine that is always busy runs no more programs \
         per second this way.",
        &cases,
    ));
    report.add(Table::of_cases(
        "python-imports",
        "Python with twelve common modules",
        format!(
            "The program is `{imports}`; ready interpreters have imported the modules already."
        ),
        &imported,
    ));
    measure_python_host(report, scale.python_rounds);
}

fn settle(engine: &SubprocessEngine) {
    let began = Instant::now();
    while engine.ready_interpreter_stats().ready < READY as u64 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            engine.ready_interpreter_stats()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reports the median time of `subprocess.run`, as a Python host measures it.
fn measure_python_host(report: &mut Report, rounds: usize) {
    let output = peers::standard(&[PYTHON, "-c", NAIVE, &rounds.to_string()]);
    let text = String::from_utf8_lossy(&output);
    let mut times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    report.set("python_naive", "median_us", (median * 1e6).round());
}
