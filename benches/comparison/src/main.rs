//! Compares Crucible with bare processes, bubblewrap, nsjail, hakoniwa, Docker and Python's
//! `subprocess`. All cases run interleaved in one process, in a new random order per round, so the
//! ratios hold even if the machine's speed drifts.

#![expect(clippy::expect_used, reason = "a failed measurement has nothing to report")]

mod accuracy;
mod allocated;
#[path = "../../support/bare.rs"]
mod bare;
mod chart;
mod containers;
mod curve;
mod growth;
mod host;
mod host_resources;
mod humaneval;
mod leaks;
mod machine;
mod neighbours;
mod page;
mod peers;
mod platform;
mod problems;
mod python;
mod report;
mod scale;
mod soak;
mod start;
#[expect(dead_code, reason = "each benchmark uses a part of the shared code")]
#[path = "../../support/mod.rs"]
mod support;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use report::Report;
use scale::Scale;

/// Compares Crucible with its peers on this machine, which should be quiet.
#[derive(Debug, Parser)]
struct Options {
    /// Run fewer rounds: under four minutes instead of an hour.
    #[arg(long)]
    quick: bool,
    /// Write the figures to a file as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Replace the tables of a Markdown page, and write the charts beside it.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Measure only these parts.
    #[arg(long, value_name = "PART", value_parser = PARTS.map(|(name, _)| name))]
    only: Vec<String>,
    /// Act as the host that the part `leaks` kills.
    #[arg(long, hide = true)]
    victim: bool,
}

/// Parts that a quick run skips unless they are named.
const LONG: [&str; 2] = ["growth", "soak"];

type Part = fn(&mut Report, &Scale);

const PARTS: [(&str, Part); 13] = [
    ("start", start::measure),
    ("throughput", throughput::measure),
    ("python", python::measure),
    ("humaneval", humaneval::measure),
    ("containers", containers::measure),
    ("host", host::measure),
    ("neighbours", neighbours::measure),
    ("platform", platform::measure),
    ("allocations", allocated::measure),
    ("accuracy", accuracy::measure),
    ("leaks", leaks::measure),
    ("growth", growth::measure),
    ("soak", soak::measure),
];

fn main() -> ExitCode {
    let options = Options::parse();
    if options.victim {
        leaks::run_victim();
    }
    let scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    let mut report = Report::new();
    let machine = machine::describe();
    println!("{machine}\n");
    for (name, measure) in PARTS {
        let is_named = options.only.iter().any(|only| only == name);
        if !is_named && (!options.only.is_empty() || options.quick && LONG.contains(&name)) {
            continue;
        }
        let began = Instant::now();
        eprintln!("{name} ...");
        let before = report.tables().len();
        measure(&mut report, &scale);
        report.tables().iter().skip(before).for_each(|table| println!("{}\n", table.text()));
        eprintln!("{name}: {} s", began.elapsed().as_secs());
    }
    let written = options
        .json
        .map_or(Ok(()), |path| {
            std::fs::write(&path, report.json(&machine)).map_err(|error| (path, error))
        })
        .and_then(|()| {
            let Some(path) = options.page else { return Ok(()) };
            page::write(&path, &machine, report.tables()).map_err(|error| (path, error))
        });
    if let Err((path, error)) = written {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
