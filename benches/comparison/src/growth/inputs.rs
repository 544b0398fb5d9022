//! The cost of input files by their number.

use crucible::{Evaluation, Limits, SubprocessEngine};

use super::grouped;
use crate::curve::Curve;
use crate::peers::{BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::{run, runtime};
use crate::support::{Case, Order, clear_times, run_rounds};

/// The numbers of input files.
const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// The content of each file.
const CONTENT: &[u8] = b"a small file, as in a source tree\n";

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = runtime();
    let engine = SubprocessEngine::new().expect("an engine");
    let place = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let (mut rows, mut curve) = (Vec::new(), Curve::new(["crucible", "bare"]));
    for count in COUNTS.into_iter().filter(|count| *count <= scale.inputs) {
        let none = evaluation(0, count);
        let all = evaluation(count, count);
        let mut cases = [
            Case::new("without", || run(&runtime, &engine, &none)),
            Case::new("with", || run(&runtime, &engine, &all)),
            Case::new("bare", || write(place.path(), count)),
        ];
        let mut order = Order::new();
        run_rounds(&mut cases, 2, &mut order);
        clear_times(&mut cases);
        run_rounds(&mut cases, (20_000 / count).clamp(5, scale.rounds / 2), &mut order);
        let of_each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / count as f64;
        let (without, with, bare) = (cases[0].median(), cases[1].median(), cases[2].median());
        let (ours, bare) = (of_each(with.saturating_sub(without)), of_each(bare));
        let key = format!("growth_inputs_{count}");
        report.set(&key, "us_per_file", round(ours));
        report.set(&key, "ratio", round(ours / bare));
        let cells =
            [format!("{ours:.1} µs"), format!("{bare:.1} µs"), format!("{:.2}", ours / bare)];
        let whole = format!("{:.1} ms", with.as_secs_f64() * 1e3);
        rows.push((grouped(count as u64), cells.into_iter().chain([whole]).collect()));
        curve.push(count as f64, [ours, bare]);
    }
    report.add(Table {
        name: "growth-inputs",
        title: "Growth: input files".to_owned(),
        note: "A run with the given number of small files, minus the same run without files. \
             Bare: this process writes the files into a file system of the same kind and \
             removes them. Growth is linear: each file is one frame to the guest and five \
             system calls there, of which creating the file is the most expensive. For one \
             and ten files the difference is within the noise of two whole runs. The only \
             bound is `Limits::inodes`, raised here from its default of 4096."
            .to_owned(),
        columns: vec!["per file", "bare", "ratio", "whole run"],
        rows,
        bars: Vec::new(),
        curve: Some(curve),
        unit: "µs a file",
    });
}

/// Returns an evaluation of a trivial program with the given number of files and inode limit.
fn evaluation(count: usize, room: usize) -> Evaluation {
    let limits = Limits::new().with_inodes(room as u64 + 100);
    let evaluation = Evaluation::command([BUSYBOX, "true"]).with_limits(limits);
    (0..count).fold(evaluation, |evaluation, number| evaluation.with_file(name(number), CONTENT))
}

/// Writes the same files from this process into a file system of the same kind.
fn write(place: &std::path::Path, count: usize) {
    for number in 0..count {
        std::fs::write(place.join(name(number)), CONTENT).expect("a file");
    }
    for number in 0..count {
        std::fs::remove_file(place.join(name(number))).expect("a file");
    }
}

fn name(number: usize) -> String {
    format!("file-{number}.txt")
}
