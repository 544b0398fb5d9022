//! `crucible completions`: completion scripts for shells.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use crate::args::cli::Cli;
use crate::args::generate::CompletionsArgs;
use crate::failure::{ExitStatus, Failure};
use crate::output::write_failure;

/// Prints the completion script of a shell.
///
/// # Errors
/// Returns a failure if standard output cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitStatus, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "crucible", &mut script);
    io::stdout().write_all(&script).map_err(write_failure)?;
    Ok(ExitStatus::Success)
}
