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

use crate::args::cli::{Cli, Command};
use crate::failure::{ExitStatus, Failure};
use crate::runtime::block_on;

/// Runs the command that the arguments select.
///
/// # Errors
/// Returns the failure of the command.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitStatus, Failure> {
    match cli.command {
        Command::Run(args) => block_on(run::run(*args, cli.verbose > 0)),
        Command::Batch(args) => block_on(batch::batch(args)),
        Command::History(args) => block_on(history::history(args)),
        Command::Verify(args) => verify::verify(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Attack(args) => block_on(attack::attack(args)),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    }
}
