//! The engine that runs programs.

use crucible::model::Layer;

use crate::engines::ENGINES;

/// The selected engine and its waived layers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EngineArgs {
    /// The engine: subprocess; with the feature `docker` also docker and gvisor.
    #[arg(
        long = "engine",
        default_value = "subprocess",
        value_name = "ENGINE",
        value_parser = parse_engine,
        help_heading = "Engine"
    )]
    pub(crate) name: String,
    /// Run without this layer (names: `crucible doctor`); repeatable.
    #[arg(long, value_name = "LAYER", help_heading = "Engine")]
    pub(crate) waive: Vec<Layer>,
}

/// Parses the name of an engine of this build.
pub(crate) fn parse_engine(text: &str) -> Result<String, String> {
    if ENGINES.contains(&text) {
        return Ok(text.to_owned());
    }
    let fix = match text {
        "docker" | "gvisor" => "build `crucible-cli` with `--features docker`",
        _ => "choose one of these engines",
    };
    Err(format!("no such engine in this build; available: {}\nfix: {fix}", ENGINES.join(", ")))
}
