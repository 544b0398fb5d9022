//! `crucible man`: man pages.

use std::fs;

use clap::CommandFactory as _;

use crate::args::cli::Cli;
use crate::args::generate::ManArgs;
use crate::failure::{ExitStatus, Failure};

/// Writes a man page for each command into a directory.
///
/// # Errors
/// Returns a failure if the directory cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<ExitStatus, Failure> {
    let directory = &args.directory;
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .map_err(|error| Failure::file("write", directory, &error))?;
    Ok(ExitStatus::Success)
}
