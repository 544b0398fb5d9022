//! Arguments of `crucible attack`.

use std::path::PathBuf;

use crate::args::engine::EngineArgs;

/// Examples for the end of `crucible attack --help`.
const AFTER_HELP: &str = "\
Every attack program also runs without isolation, as a positive control: there it must do harm.

Examples:
  crucible attack                                   all attacks
  crucible attack --only fork_bomb --only F5        some of them
  crucible attack --list
  crucible attack --engine gvisor
  crucible attack --matrix matrix.md                which layer stops which attack
  crucible attack --matrix matrix.md --check        compare the table with the file

Exit status: 0 if every attack was blocked and every control did harm, 1 if not, 2 for a usage
error, 3 for an infrastructure error.";

/// Runs the attack programs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct AttackArgs {
    /// The engine under attack.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Run only these: an attack, a family (`kernel`), or a catalogue number (`F5`); repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Print a line of JSON for each attack, and a last line with the counts.
    #[arg(long)]
    pub(crate) json: bool,
    /// List the attacks without running them.
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Run every attack without each layer, and write the table into this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "list"])]
    pub(crate) matrix: Option<PathBuf>,
    /// With --matrix: compare the table with the file instead of writing it.
    #[arg(long, requires = "matrix")]
    pub(crate) check: bool,
}
