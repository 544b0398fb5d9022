//! Evaluates one program in a sandbox and says what came of it.
//!
//! ```text
//! cargo run --release --example evaluate -- examples/programs/hello.py
//! cargo run --release --example evaluate -- --language sh -c 'exit 3'
//! cargo run --release --example evaluate -- --wall 1s --command -- sleep 60
//! cargo run --release --example evaluate -- doctor
//! ```
//!
//! Exit status: 0 if the program exited with 0, 1 for any other verdict, 2 for a usage error, 3 for an infrastructure
//! error.

mod args;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/data.rs"]
#[expect(dead_code, reason = "each example uses a part of what they share")]
mod data;
#[path = "../common/limits.rs"]
mod limits;
mod run;

use std::process::ExitCode;

use args::{Action, Args};
use clap::Parser as _;
use common::{EXIT_INFRASTRUCTURE, Failure};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(failure) = log(args.verbose) {
        return fail(&failure);
    }
    match args.action() {
        Ok(Action::Doctor { engine, json }) => doctor(&engine, json),
        Ok(Action::Evaluate(request)) => match run::run(*request) {
            Ok(status) => ExitCode::from(status),
            Err(failure) => fail(&failure),
        },
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    // It can quote what a guest chose, such as the name of a file.
    eprintln!("error: {}", common::inert(&failure.message));
    ExitCode::from(failure.status)
}

fn log(verbose: u8) -> Result<(), Failure> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .or_else(|_| tracing_subscriber::EnvFilter::try_new(level))
        .map_err(|error| Failure::usage(format!("RUST_LOG: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// What this host offers to an engine.
fn report(engine: &str) -> Result<crucible::HostReport, Failure> {
    match engine {
        "subprocess" => Ok(crucible::doctor()),
        #[cfg(feature = "docker")]
        "docker" | "gvisor" => {
            let runtime =
                tokio::runtime::Runtime::new().map_err(|error| Failure::infrastructure(&error))?;
            Ok(runtime.block_on(crucible::docker::doctor(common::containers(engine))))
        }
        _ => Err(Failure::usage(format!(
            "no engine `{engine}`; there is {}",
            common::ENGINES.join(", ")
        ))),
    }
}

/// Says what this host offers. Not all there is an infrastructure error.
fn doctor(engine: &str, json: bool) -> ExitCode {
    let report = match report(engine) {
        Ok(report) => report,
        Err(failure) => return fail(&failure),
    };
    if json {
        match common::json_line(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => return fail(&Failure::infrastructure(&error)),
        }
    } else {
        print!("{report}");
        if report.is_complete() {
            println!("this host can enforce every layer");
        } else if report.fact("a sandbox could not be made").is_none() {
            let missing: Vec<_> =
                report.missing().map(|probe| format!("--waive {}", probe.layer)).collect();
            println!("to run without what is missing: {}", missing.join(" "));
        }
    }
    if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INFRASTRUCTURE) }
}
