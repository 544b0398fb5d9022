//! Evaluates a file of JSON lines, many at once.
//!
//! ```text
//! cargo run --release --example batch -- --workers 8 evaluations.jsonl > outcomes.jsonl
//! ```
//!
//! One evaluation a line in, one outcome a line out, as each ends:
//!
//! ```text
//! {"key":"a1","language":"python","source":"print(1)","stdin":"…","limits":{"wall_us":5000000}}
//! {"key":"a1","id":"…","state":"finished","outcome":{…}}
//! ```
//!
//! With `--data DIR` a batch that was ended in whatever way goes on when it is started again: each line is known by its key,
//! and a line without one by its place among those that are the same.
//!
//! A program has no network, unless its line has `"network":{"allow":["host:port"]}`.
//!
//! A line that is no evaluation is reported on standard error with its number, and the rest goes on. Ctrl-C lets what runs
//! end; a second one ends it. Exit status: 0 if every line came to an outcome, 2 if one was bad, 3 if the infrastructure
//! failed, 130 if it was interrupted.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "each example uses a part of what they share")]
mod common;
#[path = "../common/data.rs"]
#[expect(dead_code, reason = "each example uses a part of what they share")]
mod data;
mod keys;
#[path = "../common/limits.rs"]
#[expect(dead_code, reason = "each example uses a part of what they share")]
mod limits;
mod line;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::Failure;
use crucible::Layer;

/// Evaluate a file of JSON lines, many at once.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The evaluations, one JSON object a line; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The engine to run them on.
    #[arg(long, default_value = "subprocess", value_name = "ENGINE")]
    engine: String,
    /// How many run at once; by default as many as there are CPUs.
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
    /// Go without a layer, by its name, as `evaluate doctor` lists them.
    #[arg(long, value_name = "LAYER")]
    waive: Vec<Layer>,
    /// Keep evaluations and what came of them in this directory, which is made if it is not there. Run again with the same
    /// lines, a batch goes on where it was ended: what is done is not run again, by the keys of the lines.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Limits for the lines that give none.
    #[command(flatten)]
    limits: limits::LimitArgs,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match start(Args::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, message }) => {
            eprintln!("error: {message}");
            ExitCode::from(status)
        }
    }
}

fn start(args: Args) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::infrastructure(&error))?;
    let status = runtime.block_on(run::run(args));
    // Whoever still reads standard input is not waited for.
    runtime.shutdown_background();
    status
}
