//! Attacks an engine with every program of the suite, and says which were blocked.
//!
//! ```text
//! cargo run --release --example attacks -- --engine subprocess
//! cargo run --release --example attacks -- --only fork_bomb --only F5
//! cargo run --release --example attacks -- --matrix docs/security-matrix.md
//! ```
//!
//! Exit status: 0 if every attack was blocked and every control did harm, 1 if not, 2 for a usage error, 3 for an
//! infrastructure error.

#[path = "../common/mod.rs"]
mod common;
mod matrix;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::{ENGINES, EXIT_VERDICT, Failure};
use crucible::{Engine, EngineError, Layer};
use crucible_conformance::attack::{self, AttackFinding, AttackReport, AttackStatus, AttackSuite};
use indicatif::{ProgressBar, ProgressStyle};

/// Attacks an engine with every program of the suite, and says which were blocked.
#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    /// The engine under attack.
    #[arg(long, default_value = "subprocess", value_parser = ENGINES)]
    engine: String,
    /// Runs only these: an attack, a family (`kernel`), or a number of the catalogue (`F5`). Again for more.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A layer that the engine is to do without. Again for more.
    #[arg(long, value_name = "LAYER")]
    waive: Vec<Layer>,
    /// Prints a line of JSON for each attack, and the counts in the last.
    #[arg(long)]
    json: bool,
    /// Lists the attacks and runs none.
    #[arg(long, conflicts_with = "json")]
    list: bool,
    /// Runs every attack without each layer, and writes the table into this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "list"])]
    matrix: Option<PathBuf>,
    /// With `--matrix`: compares the file with the table, and writes nothing.
    #[arg(long, requires = "matrix")]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = tokio::select! {
        done = carry_out(&args) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure { status: 130, message: "interrupted".to_owned() }),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("error: {}", common::inert(&failure.message));
            ExitCode::from(failure.status)
        }
    }
}

async fn carry_out(args: &Args) -> Result<u8, Failure> {
    let suite = suite(args)?;
    if suite.attacks().is_empty() {
        return Err(Failure::usage("`--only` names no attack; `--list` lists them"));
    }
    if args.list {
        for attack in suite.attacks() {
            println!(
                "{:<4} {:<11} {:<26} {}",
                attack.catalogue, attack.family, attack.name, attack.action
            );
        }
        for (catalogue, why) in attack::COVERED_ELSEWHERE {
            println!("{catalogue:<4} not a program: {why}");
        }
        return Ok(0);
    }
    // What fails to start is the host's, and not the suite's.
    common::engine(&args.engine, &args.waive)?;
    if let Some(file) = &args.matrix {
        return matrix::run(&suite, file, args.check).await;
    }
    let bar = progress(suite.attacks().len());
    let report = suite.run(|finding| tell(args, &bar, finding)).await;
    bar.finish_and_clear();
    let report = report.map_err(|error| Failure::infrastructure(&error))?;
    conclude(args, &report);
    Ok(if report.is_green() { 0 } else { EXIT_VERDICT })
}

fn suite(args: &Args) -> Result<AttackSuite, Failure> {
    let (name, waived) = (args.engine.clone(), args.waive.clone());
    let make = move |without: &[Layer]| -> Result<Arc<dyn Engine>, EngineError> {
        let all: Vec<Layer> = waived.iter().chain(without).copied().collect();
        common::try_engine(&name, &all)
    };
    let suite = AttackSuite::new(make).map_err(|error| Failure::infrastructure(&error))?;
    Ok(if args.only.is_empty() { suite } else { suite.only(&args.only) })
}

fn progress(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn tell(args: &Args, bar: &ProgressBar, finding: &AttackFinding) {
    bar.suspend(|| {
        if args.json {
            match common::json_line(finding) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: {error}"),
            }
        } else {
            println!("{}", common::inert(&finding.to_string()));
        }
    });
    bar.inc(1);
}

fn conclude(args: &Args, report: &AttackReport) {
    if args.json {
        println!("{}", report.summary());
        return;
    }
    for finding in report.findings.iter().filter(|finding| finding.status == AttackStatus::Inconclusive) {
        println!("inconclusive: {}: {}", finding.name, common::inert(&finding.detail));
    }
    println!("{report}");
}
