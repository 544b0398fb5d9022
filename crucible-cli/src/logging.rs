//! The log on standard error.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;

/// Starts the log: with the directives in `RUST_LOG`, or else with the level that `-v` selects.
///
/// # Errors
/// Returns a failure if `RUST_LOG` cannot be parsed.
pub(crate) fn init(verbose: u8) -> Result<(), Failure> {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned());
    let targets: Targets = directives.parse().map_err(|error| {
        Failure::usage(format!("cannot parse RUST_LOG: {error}"))
            .with_fix("use directives such as `warn` or `crucible=debug,info`")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}
