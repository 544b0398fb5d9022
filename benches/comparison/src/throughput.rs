//! Runs per second with several in parallel.

use std::time::{Duration, Instant};

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, SubprocessEngine};
use tokio::runtime::Runtime;

use crate::bare::Bare;
use crate::peers::{self, BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::ARGV;
use crate::support::Order;

/// The numbers of parallel runs.
const AT_ONCE: [usize; 4] = [1, 2, 8, 32];

type Subject<'a> = (&'static str, Box<dyn Fn(usize, Duration) -> f64 + 'a>);

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let cold = SubprocessEngine::new().expect("an engine");
    let ready = SubprocessEngine::builder().ready_sandboxes(16).build().expect("an engine");
    let slots = SubprocessEngine::builder().slots(40).build().expect("an engine");
    let bare = Bare::new(&ARGV, 0);
    let mut subjects: Vec<Subject<'_>> = vec![
        (
            "bare vfork+exec",
            Box::new(|at_once, span| by_threads(at_once, span, || drop(bare.run()))),
        ),
        (
            "std::process::Command",
            Box::new(|at_once, span| by_threads(at_once, span, || drop(peers::standard(&ARGV)))),
        ),
        ("crucible, cold", Box::new(|at_once, span| by_tasks(&runtime, &cold, at_once, span))),
        (
            "crucible, ready sandbox",
            Box::new(|at_once, span| by_tasks(&runtime, &ready, at_once, span)),
        ),
        ("crucible, in slots", Box::new(|at_once, span| by_tasks(&runtime, &slots, at_once, span))),
    ];
    if peers::has_bwrap() {
        let bwrap = |at_once, span| by_threads(at_once, span, || drop(peers::bwrap(&ARGV)));
        subjects.push(("bwrap --unshare-all", Box::new(bwrap)));
    }
    if let Some(nsjail) = peers::find_nsjail() {
        let run =
            move |at_once, span| by_threads(at_once, span, || drop(peers::nsjail(&nsjail, &ARGV)));
        subjects.push(("nsjail", Box::new(run)));
    }
    let mut figures = vec![[const { Vec::new() }; AT_ONCE.len()]; subjects.len()];
    let mut order = Order::new();
    for _ in 0..scale.passes {
        for (column, at_once) in AT_ONCE.into_iter().enumerate() {
            for index in order.shuffled(subjects.len()) {
                figures[index][column].push((subjects[index].1)(at_once, scale.span));
            }
        }
    }
    let medians: Vec<[f64; AT_ONCE.len()]> =
        figures.into_iter().map(|row| row.map(median)).collect();
    let ratio = |row: usize, column: usize| {
        medians[row][column] / medians[0][column].max(f64::MIN_POSITIVE)
    };
    for (column, at_once) in AT_ONCE.into_iter().enumerate() {
        let key = format!("throughput_{at_once}");
        report.set(&key, "bare_per_second", medians[0][column].round());
        for (row, (name, _)) in subjects.iter().enumerate().skip(2) {
            let of = match *name {
                "crucible, cold" => "cold_",
                "crucible, ready sandbox" => "ready_",
                "crucible, in slots" => "slots_",
                "nsjail" => "nsjail_",
                _ => "bwrap_",
            };
            report.set(&key, &format!("{of}per_second"), medians[row][column].round());
            report.set(&key, &format!("{of}ratio"), round(ratio(row, column)));
        }
        // A host would choose the fastest.
        report.set(&key, "ratio", round((2..=4).map(|row| ratio(row, column)).fold(0.0, f64::max)));
    }
    let row = |row: usize| {
        let cells = (0..AT_ONCE.len())
            .map(|column| format!("{:.0} ({:.2})", medians[row][column], ratio(row, column)));
        (subjects[row].0.to_owned(), cells.collect())
    };
    report.add(Table {
        name: "throughput",
        title: "Runs per second".to_owned(),
        note: "The same program with the given parallelism; in brackets the ratio to bare \
             processes. With few processors this measures processor time: a sandbox needs \
             more of it than the program, mostly in the kernel. In slots, consecutive \
             sandboxes share what can be created once."
            .to_owned(),
        columns: vec!["1 in parallel", "2", "8", "32"],
        rows: (0..subjects.len()).map(row).collect(),
        bars: subjects
            .iter()
            .zip(&medians)
            .map(|((name, _), row)| ((*name).to_owned(), row[2]))
            .collect(),
        curve: None,
        unit: "runs per second, 8 in parallel",
    });
}

pub(crate) fn by_threads(at_once: usize, span: Duration, run: impl Fn() + Sync) -> f64 {
    let began = Instant::now();
    let runs: u32 = std::thread::scope(|scope| {
        let work = || {
            let mut runs = 0;
            while began.elapsed() < span {
                run();
                runs += 1;
            }
            runs
        };
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u32>()
    });
    f64::from(runs) / began.elapsed().as_secs_f64()
}

pub(crate) fn by_tasks(
    runtime: &Runtime,
    engine: &SubprocessEngine,
    at_once: usize,
    span: Duration,
) -> f64 {
    let began = Instant::now();
    let runs = runtime.block_on(async {
        let work = |engine: SubprocessEngine| async move {
            let (evaluation, context, mut runs) = (Evaluation::command(ARGV), RunContext::new(), 0);
            while began.elapsed() < span {
                let outcome = engine.run(&evaluation, &context).await.expect("a run");
                assert!(outcome.is_success(), "{}", outcome.verdict());
                runs += 1;
            }
            runs
        };
        let tasks: Vec<_> = (0..at_once).map(|_| tokio::spawn(work(engine.clone()))).collect();
        let mut runs = 0_u32;
        for task in tasks {
            runs += task.await.expect("no panic");
        }
        runs
    });
    f64::from(runs) / began.elapsed().as_secs_f64()
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
