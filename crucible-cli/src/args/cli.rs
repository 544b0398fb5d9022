//! The whole command line.

use clap::{Parser, Subcommand};

use crate::args::attack::AttackArgs;
use crate::args::batch::BatchArgs;
use crate::args::doctor::DoctorArgs;
use crate::args::generate::{CompletionsArgs, ManArgs};
use crate::args::history::HistoryArgs;
use crate::args::run::RunArgs;
use crate::args::verify::VerifyArgs;

/// Exit statuses and environment variables, for the end of `crucible --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible run hello.py                        run a program in a sandbox
  crucible batch evaluations.jsonl             run many, one JSON object per line
  crucible doctor                              show which layers this host can enforce

Exit status:
  0    the program exited with 0, or the command succeeded
  1    the program has another verdict, or a check found a problem
  2    usage error
  3    infrastructure error
  130  interrupted by Ctrl-C

Environment:
  RUST_LOG         log directives for standard error, such as `crucible=debug`
  DOCKER_HOST      the daemon of the engines `docker` and `gvisor`
  CRUCIBLE_IMAGE   the default image of the engines `docker` and `gvisor`";

/// Run untrusted programs in real isolation.
#[derive(Debug, Parser)]
#[command(name = "crucible", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print more: evidence and layers; twice also the library's log.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run one program in a sandbox.
    Run(Box<RunArgs>),
    /// Run a file of JSON lines in parallel.
    Batch(BatchArgs),
    /// Inspect a data directory that `run --data` or `batch --data` created.
    History(HistoryArgs),
    /// Verify a file that `history export` wrote, independently of the library.
    Verify(VerifyArgs),
    /// Show which isolation layers this host can enforce.
    Doctor(DoctorArgs),
    /// Run the attack programs against an engine.
    Attack(AttackArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write man pages into a directory.
    #[command(hide = true)]
    Man(ManArgs),
}
