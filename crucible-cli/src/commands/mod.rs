//! The work of the commands, one file or folder for each command.

mod attack;
mod attack_matrix;
mod batch;
mod completions;
mod doctor;
mod history;
mod man;
mod run;
mod run_input;
mod run_report;
mod verify;

use crate::args::cli::{Cli, CliCommand};
use crate::failure::{ExitStatus, Failure};
use crate::runtime::block_on;

/// Runs the command that the arguments select.
///
/// # Errors
/// Returns the failure of the command.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitStatus, Failure> {
    match cli.command {
        CliCommand::Run(args) => block_on(run::run(*args, cli.verbose > 0)),
        CliCommand::Batch(args) => block_on(batch::batch(args)),
        CliCommand::History(args) => block_on(history::history(args)),
        CliCommand::Verify(args) => verify::verify(&args),
        CliCommand::Doctor(args) => doctor::doctor(&args),
        CliCommand::Attack(args) => block_on(attack::attack(args)),
        CliCommand::Completions(args) => completions::completions(&args),
        CliCommand::Man(args) => man::man(&args),
    }
}
