//! `crucible attack`: the attack programs against an engine.

use std::sync::Arc;

use crucible::engine::{Engine, EngineError};
use crucible::model::Layer;
use crucible_conformance::attack::{self, AttackFinding, AttackReport, AttackStatus, AttackSuite};
use indicatif::ProgressBar;

use crate::args::attack::AttackArgs;
use crate::commands::attack_matrix;
use crate::engines;
use crate::failure::{ExitStatus, Failure};
use crate::json;
use crate::output::print_line;
use crate::progress;
use crate::terminal_text::escaped;

/// The template of the progress bars.
pub(super) const BAR: &str = "{bar:30} {pos}/{len} {msg}";

/// Lists the attacks, runs them, or writes the matrix. Ctrl-C ends the running attack.
///
/// # Errors
/// Returns a failure if no attack is selected, the engine cannot start, or the infrastructure
/// fails.
pub(crate) async fn attack(args: AttackArgs) -> Result<ExitStatus, Failure> {
    let suite = suite(&args)?;
    if suite.attacks().is_empty() {
        return Err(Failure::usage("`--only` selects no attack")
            .with_fix("see `crucible attack --list` for the names"));
    }
    if args.list {
        return list(&suite);
    }
    // An engine that cannot start is a failure of the host, not a result of the suite.
    engines::create(&args.engine)?;
    tokio::select! {
        status = run(&suite, &args) => status,
        signal = tokio::signal::ctrl_c() => Err(match signal {
            Ok(()) => Failure::interrupted(),
            Err(error) => Failure::infrastructure(&error),
        }),
    }
}

/// Returns the selected attacks against the selected engine.
fn suite(args: &AttackArgs) -> Result<AttackSuite, Failure> {
    let engine = args.engine.clone();
    let make = move |without: &[Layer]| -> Result<Arc<dyn Engine>, EngineError> {
        let waived: Vec<Layer> = engine.waive.iter().chain(without).copied().collect();
        engines::try_create(&engine.name, &waived)
    };
    let suite = AttackSuite::new(make).map_err(|error| Failure::infrastructure(&error))?;
    Ok(if args.only.is_empty() { suite } else { suite.only(&args.only) })
}

/// Prints the attacks, and the catalogue numbers that are not programs.
fn list(suite: &AttackSuite) -> Result<ExitStatus, Failure> {
    for attack in suite.attacks() {
        print_line(&format!(
            "{:<4} {:<11} {:<26} {}",
            attack.catalogue, attack.family, attack.name, attack.action
        ))?;
    }
    for (catalogue, reason) in attack::COVERED_ELSEWHERE {
        print_line(&format!("{catalogue:<4} not a program: {reason}"))?;
    }
    Ok(ExitStatus::Success)
}

/// Runs the attacks, or the matrix.
async fn run(suite: &AttackSuite, args: &AttackArgs) -> Result<ExitStatus, Failure> {
    if let Some(file) = &args.matrix {
        return attack_matrix::run(suite, file, args.check).await;
    }
    let bar = progress::bar(suite.attacks().len() as u64, BAR);
    let mut printed = Ok(());
    let report = suite
        .run(|finding| {
            if printed.is_ok() {
                printed = print_finding(args.json, &bar, finding);
            }
        })
        .await;
    bar.finish_and_clear();
    let report = report.map_err(|error| Failure::infrastructure(&error))?;
    printed?;
    print_summary(args.json, &report)?;
    Ok(if report.is_green() { ExitStatus::Success } else { ExitStatus::Negative })
}

/// Prints the result of one attack above the progress bar.
fn print_finding(json: bool, bar: &ProgressBar, finding: &AttackFinding) -> Result<(), Failure> {
    let line = if json { json::to_line(finding)? } else { escaped(&finding.to_string()) };
    bar.inc(1);
    bar.suspend(|| print_line(&line))
}

/// Prints the inconclusive attacks and the counts.
fn print_summary(json: bool, report: &AttackReport) -> Result<(), Failure> {
    if json {
        return print_line(&report.summary().to_string());
    }
    for finding in
        report.findings.iter().filter(|finding| finding.status == AttackStatus::Inconclusive)
    {
        print_line(&format!("inconclusive: {}: {}", finding.name, escaped(&finding.detail)))?;
    }
    print_line(report.to_string().trim_end_matches('\n'))
}
