//! Arguments of `crucible completions` and `crucible man`.

use std::path::PathBuf;

use clap_complete::Shell;

/// Examples for the end of `crucible completions --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible completions bash > /etc/bash_completion.d/crucible
  crucible completions zsh  > \"${fpath[1]}/_crucible\"
  crucible completions fish > ~/.config/fish/completions/crucible.fish";

/// Prints a completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Writes man pages.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  crucible man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory for the pages, one page for each command. It is created if it does not exist.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
