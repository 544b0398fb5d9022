//! Arguments of `crucible doctor`.

use crate::args::engine::parse_engine;

/// Examples for the end of `crucible doctor --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible doctor
  crucible doctor --engine docker
  crucible doctor --json

Exit status: 0 if this host can enforce every layer, 3 if not.";

/// Shows the layers that this host can enforce.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    /// The engine to examine.
    #[arg(
        long,
        default_value = "subprocess",
        value_name = "ENGINE",
        value_parser = parse_engine
    )]
    pub(crate) engine: String,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
