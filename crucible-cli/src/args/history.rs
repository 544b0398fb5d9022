//! Arguments of `crucible history`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Subcommand};
use crucible::checkpoint::CheckpointPublicKey;
use crucible::journal::RecordState;
use crucible::model::EvaluationId;

use crate::args::engine::EngineArgs;

/// Examples for the end of `crucible history --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible run --data results hello.py
  crucible history --data results list --newest
  crucible history --data results show ID
  crucible history --data results follow            run the waiting evaluations
  crucible history --data results verify
  crucible history --data results purge --older-than 30d

One process at a time has a data directory open.

Exit status: 0, 1 if a check found a problem, 2 for a usage error, 3 for an infrastructure error.";

/// Inspects a data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct HistoryArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The action.
    #[command(subcommand)]
    pub(crate) command: HistoryCommand,
}

/// An action on a data directory.
#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// List evaluations.
    #[command(after_help = "\
Examples:
  crucible history --data DIR list --state failed --tenant acme
  crucible history --data DIR list --json | jq .outcome.verdict")]
    List(ListArgs),
    /// Show one evaluation: its program, outcome and journal.
    #[command(after_help = "Example:\n  crucible history --data DIR show ID --json")]
    Show(ShowArgs),
    /// Run the waiting evaluations and print each journal entry when it is written.
    ///
    /// Ends when no evaluation waits.
    #[command(after_help = "Example:\n  crucible history --data DIR follow --workers 4")]
    Follow(FollowArgs),
    /// Verify every journal entry and every referenced blob.
    #[command(after_help = "\
Example:
  crucible history --data DIR verify --checkpoint checkpoint.jsonl --key PUBLIC_KEY")]
    Verify(VerifyStorageArgs),
    /// Create a key that signs checkpoints, and print its public half.
    #[command(after_help = "Example:\n  crucible history --data DIR key --out signing.key")]
    Key(KeyArgs),
    /// Sign a statement about the ends of all journals.
    ///
    /// Keep it where a writer of the data directory cannot change it.
    #[command(after_help = "\
Example:
  crucible history --data DIR checkpoint --key signing.key --out checkpoint.jsonl")]
    Checkpoint(CheckpointArgs),
    /// Write journals and their proofs as JSON lines, for `crucible verify`.
    #[command(after_help = "\
Examples:
  crucible history --data DIR export > export.jsonl
  crucible history --data DIR export --key signing.key ID > one.jsonl")]
    Export(ExportArgs),
    /// Remove ended evaluations.
    #[command(after_help = "\
Examples:
  crucible history --data DIR purge --older-than 30d
  crucible history --data DIR purge --all --state finished")]
    Purge(PurgeArgs),
    /// List dead letters: evaluations that failed because of the infrastructure.
    #[command(after_help = "Example:\n  crucible history --data DIR dead --json")]
    Dead(DeadArgs),
    /// Run dead letters again, each as a new evaluation.
    #[command(after_help = "\
Examples:
  crucible history --data DIR redrive ID
  crucible history --data DIR redrive --all")]
    Redrive(RedriveArgs),
}

/// Lists evaluations.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The selected evaluations.
    #[command(flatten)]
    pub(crate) filter: RecordFilterArgs,
    /// The maximum number of evaluations.
    #[arg(long, value_name = "COUNT", conflicts_with = "all")]
    pub(crate) limit: Option<usize>,
    /// List all evaluations [default: 100, with --json all].
    #[arg(long)]
    pub(crate) all: bool,
    /// List the newest first.
    #[arg(long)]
    pub(crate) newest: bool,
    /// Start after this evaluation, in the order of the list.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<EvaluationId>,
    /// Print a record per line, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A selection of records.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordFilterArgs {
    /// Only evaluations in this state; repeatable.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<RecordState>,
    /// Only evaluations of this tenant.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Only evaluations with this label; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    pub(crate) label: Vec<(String, String)>,
}

/// Parses a label of the form `NAME=VALUE`.
fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Shows one evaluation.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The evaluation.
    #[arg(value_name = "ID")]
    pub(crate) id: EvaluationId,
    /// Print the record and the journal as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the waiting evaluations.
#[derive(Debug, clap::Args)]
pub(crate) struct FollowArgs {
    /// Print only this evaluation: its whole journal, until it has ended.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<EvaluationId>,
    /// Print an entry per line, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The workers.
    #[command(flatten)]
    pub(crate) workers: WorkerArgs,
}

/// The workers that run waiting evaluations.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Programs at the same time [default: the number of CPUs].
    #[arg(long = "workers", value_name = "COUNT")]
    pub(crate) count: Option<usize>,
}

/// Verifies the storage.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyStorageArgs {
    /// A checkpoint from another place: the storage must contain everything that it states.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The public key of the checkpoint.
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    pub(crate) key: Option<CheckpointPublicKey>,
}

/// Creates a signing key.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// The file for the secret key; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Signs a checkpoint.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckpointArgs {
    /// The file with the secret key, as `key` creates it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The file for the checkpoint: a line with the statement, then a line for each journal's end.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Exports journals.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Only these evaluations [default: all].
    #[arg(value_name = "ID")]
    pub(crate) id: Vec<EvaluationId>,
    /// Export the journals of this checkpoint, with their proofs.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Sign a new checkpoint with the secret key in this file, and export it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The file to write [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Removes ended evaluations.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true))]
pub(crate) struct PurgeArgs {
    /// Only evaluations that ended longer ago than this, such as 30d or 12h.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        group = "selection"
    )]
    pub(crate) older_than: Option<Duration>,
    /// All ended evaluations that the other options select.
    #[arg(long, group = "selection")]
    pub(crate) all: bool,
    /// The selected evaluations.
    #[command(flatten)]
    pub(crate) filter: RecordFilterArgs,
}

/// Lists dead letters.
#[derive(Debug, clap::Args)]
pub(crate) struct DeadArgs {
    /// Print a record per line, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs dead letters again.
#[derive(Debug, clap::Args)]
pub(crate) struct RedriveArgs {
    /// The dead letters.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) id: Vec<EvaluationId>,
    /// All dead letters.
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// The workers.
    #[command(flatten)]
    pub(crate) workers: WorkerArgs,
}
