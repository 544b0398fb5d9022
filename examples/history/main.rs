//! What a data directory holds: lists, shows, follows, verifies, proves, purges.
//!
//! ```text
//! cargo run --release --example evaluate -- --data /tmp/x examples/programs/hello.py
//! cargo run --release --example history -- --data /tmp/x list
//! ```
//!
//! `evaluate` and `batch` keep what they do in a directory if they are given one by `--data`. One process at a time has a
//! directory; another is told which. Exit status: 0, 1 if `verify` finds something wrong, 2 for a usage error, 3 for an
//! infrastructure error.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/data.rs"]
mod data;
mod export;
mod follow;
#[path = "../common/limits.rs"]
#[expect(dead_code, reason = "each example uses a part of what they share")]
mod limits;
mod list;
mod prove;
mod purge;
mod redrive;
mod show;
mod verify;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::Failure;
use crucible::{DataDirectory, EvaluationId};

/// Look into a data directory that `evaluate --data` or `batch --data` has made.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List evaluations.
    List(list::ListArgs),
    /// Show one evaluation: what was run, what came of it, and its journal.
    Show {
        /// The evaluation.
        id: EvaluationId,
        /// Print the record and the journal as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run what waits, and print every entry of the journals as it is written; ends when nothing waits any more.
    Follow(follow::FollowArgs),
    /// Check every entry of every journal, and every blob that is named.
    Verify(verify::VerifyArgs),
    /// Make a key that signs checkpoints, and print its public half.
    Key {
        /// The file for the secret key; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a statement on the ends of all journals. Keep it where whoever can write to the directory cannot.
    Checkpoint(prove::CheckpointArgs),
    /// Write journals as JSON lines, with what proves them; `verify_export` checks that.
    Export(export::ExportArgs),
    /// Remove evaluations that have ended.
    Purge(purge::PurgeArgs),
    /// List dead letters: evaluations that the infrastructure gave up.
    Dead {
        /// Print a record a line, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run dead letters again, each as a new evaluation.
    Redrive(redrive::RedriveArgs),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match start(Args::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, message }) if message.is_empty() => ExitCode::from(status),
        Err(Failure { status, message }) => {
            eprintln!("error: {}", common::inert(&message));
            ExitCode::from(status)
        }
    }
}

fn start(args: Args) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::infrastructure(&error))?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Result<u8, Failure> {
    let path = &args.data;
    match args.command {
        Command::Key { out } => return prove::make_key(&out),
        Command::Follow(command) => return follow::follow(path, command).await,
        Command::Redrive(command) => return redrive::redrive(path, command).await,
        _ => {}
    }
    let directory = data::existing(path).await?;
    let status = look(&directory, args.command).await;
    let closed = directory.close().await.map_err(|error| Failure::infrastructure(&error));
    status.and_then(|status| closed.map(|()| status))
}

async fn look(directory: &DataDirectory, command: Command) -> Result<u8, Failure> {
    match command {
        Command::List(args) => list::list(directory, &args).await,
        Command::Dead { json } => list::dead(directory, json).await,
        Command::Show { id, json } => show::show(directory, id, json).await,
        Command::Verify(args) => verify::verify(directory, &args).await,
        Command::Checkpoint(args) => prove::checkpoint(directory, &args).await,
        Command::Export(args) => export::export(directory, &args).await,
        Command::Purge(args) => purge::purge(directory, args).await,
        Command::Key { .. } | Command::Follow(_) | Command::Redrive(_) => Ok(0),
    }
}

/// Nobody reads what is written any more: the end, and no error.
fn enough() -> Failure {
    Failure { status: 0, message: String::new() }
}

/// Writes a line. A reader who has seen enough ends the program quietly, as it ends `cat`.
fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(enough()),
        Err(error) => Err(Failure::infrastructure(&error)),
        Ok(()) => Ok(()),
    }
}
