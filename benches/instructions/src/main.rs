//! Instructions (by valgrind's callgrind) and allocations of Crucible's hot paths.
//!
//! Counts, unlike times, are the same on a busy machine. `benches/instructions/check` builds this
//! program and compares the counts with `baseline.json`.

#![expect(clippy::expect_used, reason = "a failed measurement has nothing to report")]

#[path = "../../support/allocator.rs"]
mod allocator;
mod baseline;
mod callgrind;
mod comparison;
mod counts;
#[path = "../../support/noop_engine.rs"]
mod noop_engine;
mod paths;

use std::process::ExitCode;

use baseline::{Baseline, TakenWith};
use counts::Counts;

#[global_allocator]
static ALLOCATOR: allocator::CountingAllocator = allocator::CountingAllocator;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => check(),
        (Some("--renew"), None) => renew(),
        // The child process under callgrind.
        (Some("--run"), Some(name)) => counts::run(&name),
        _ => Err("usage: benches/instructions/check [--renew]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Counts all paths in sequence.
fn count() -> Result<Vec<(&'static str, Counts)>, String> {
    paths::ALL.iter().map(|path| Ok((path.name, callgrind::count(path.name)?))).collect()
}

fn check() -> Result<(), String> {
    let baseline = Baseline::read()?;
    let here = TakenWith::here()?;
    if here != baseline.taken_with {
        println!("note: the baseline was taken with {}, this is {here}", baseline.taken_with);
    }
    let counted = count()?;
    for (name, counts) in &counted {
        println!("{name:<44} {counts}");
    }
    // Positive control: with a baseline that is too low, the comparison must report every path.
    let found =
        comparison::compare(&baseline_of(&counted, &here).lowered(), &counted).failures.len();
    if found != counted.len() {
        return Err(format!(
            "the comparison reported {found} of {} paths that exceed a lowered baseline",
            counted.len()
        ));
    }
    let comparison = comparison::compare(&baseline, &counted);
    comparison.hints.iter().for_each(|hint| println!("{hint}"));
    if comparison.failures.is_empty() { Ok(()) } else { Err(comparison.failures.join("\n")) }
}

fn renew() -> Result<(), String> {
    baseline_of(&count()?, &TakenWith::here()?).write()
}

fn baseline_of(counted: &[(&'static str, Counts)], here: &TakenWith) -> Baseline {
    let paths = counted.iter().map(|(name, counts)| ((*name).to_owned(), *counts));
    Baseline { taken_with: here.clone(), paths: paths.collect() }
}
