//! The `crucible` command: runs untrusted programs in real isolation.

#![forbid(unsafe_code)]

mod args;
mod commands;
mod data;
mod engines;
mod failure;
mod format;
mod json;
mod logging;
mod output;
mod progress;
mod runtime;
mod terminal_text;
mod text_table;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let status = logging::init(cli.verbose).and_then(|()| commands::dispatch(cli));
    match status {
        Ok(status) => status.into(),
        Err(failure) => failure.report(),
    }
}
