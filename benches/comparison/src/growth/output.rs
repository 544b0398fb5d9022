//! The speed of output by its length.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, Limits, SubprocessEngine};

use crate::curve::Curve;
use crate::peers::{BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::runtime;
use crate::support::{Case, Order, clear_times, ratio, run_rounds};

/// One KiB in bytes.
const KIB: u64 = 1024;
/// One MiB in bytes.
const MIB: u64 = 1024 * KIB;
/// The measured lengths, with their names.
const LENGTHS: [(u64, &str); 6] = [
    (KIB, "1 KiB"),
    (64 * KIB, "64 KiB"),
    (MIB, "1 MiB"),
    (16 * MIB, "16 MiB"),
    (256 * MIB, "256 MiB"),
    (1024 * MIB, "1 GiB"),
];

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = runtime();
    let engine = SubprocessEngine::new().expect("an engine");
    let (mut rows, mut curve) = (Vec::new(), Curve::new(["crucible", "bare"]));
    for (length, name) in LENGTHS.into_iter().filter(|(length, _)| *length <= scale.output) {
        let argv = program(length);
        let hour = Duration::from_secs(3600);
        let limits = Limits::new().with_output_bytes(length).with_wall(hour).with_cpu(hour);
        let (evaluation, context) =
            (Evaluation::command(argv.clone()).with_limits(limits), RunContext::new());
        let mut cases = [
            Case::new("bare", || assert_eq!(read_to_the_end(&argv), length)),
            Case::new("crucible", || {
                let outcome = runtime.block_on(engine.run(&evaluation, &context)).expect("a run");
                assert!(outcome.is_success(), "{}", outcome.verdict());
                assert_eq!(outcome.stdout.total_bytes, length);
            }),
        ];
        let mut order = Order::new();
        run_rounds(&mut cases, 2, &mut order);
        clear_times(&mut cases);
        // Short outputs are measured more often, and each at least three times.
        let rounds =
            usize::try_from(512 * MIB / length).unwrap_or(usize::MAX).clamp(3, scale.rounds / 4);
        run_rounds(&mut cases, rounds, &mut order);
        let mib = |case: &Case<'_>| length as f64 / MIB as f64 / case.median().as_secs_f64();
        let key = format!("growth_output_{}_kib", length / KIB);
        report.set(&key, "mib_per_second", round(mib(&cases[1])));
        report.set(&key, "ratio", round(ratio(cases[0].median(), cases[1].median())));
        let speeds = [mib(&cases[1]), mib(&cases[0])].map(|mib| format!("{mib:.1}"));
        let ratio = format!("{:.2}", ratio(cases[0].median(), cases[1].median()));
        rows.push((name.to_owned(), speeds.into_iter().chain([ratio]).collect()));
        curve.push(length as f64, [mib(&cases[1]), mib(&cases[0])]);
    }
    report.add(Table {
        name: "growth-output",
        title: "Growth: output".to_owned(),
        note: "`busybox dd` writes zeros in blocks of 64 KiB. Bare: the pipe is read to \
             end-of-file and nothing is stored. Crucible stores 1 MiB, half from the beginning and \
             half from the end, and counts and hashes everything. Up to about 1 MiB the start \
             dominates in both. Beyond that the pipe limits the speed, and in Crucible \
             SHA-256 as well, which takes the reader more time than read(2)."
            .to_owned(),
        columns: vec!["MiB per second", "bare", "ratio"],
        rows,
        bars: Vec::new(),
        curve: Some(curve),
        unit: "MiB per second",
    });
}

/// Returns a command that writes the given number of bytes in blocks of a pipe's capacity.
fn program(length: u64) -> Vec<String> {
    let piece = length.min(64 * KIB);
    let (piece, count) = (format!("bs={piece}"), format!("count={}", length / piece));
    [BUSYBOX, "dd", "if=/dev/zero", &piece, &count, "status=none"].map(str::to_owned).into()
}

/// Runs a program with the standard library and discards its output.
fn read_to_the_end(argv: &[String]) -> u64 {
    let [program, arguments @ ..] = argv else { return 0 };
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("a process");
    let mut pipe = child.stdout.take().expect("the output is readable");
    let (mut buffer, mut length) = (vec![0; 64 * 1024], 0);
    while let count @ 1.. = pipe.read(&mut buffer).expect("the output is readable") {
        length += count as u64;
    }
    assert!(child.wait().expect("it is reaped").success(), "it fails");
    length
}
