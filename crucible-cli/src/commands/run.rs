//! `crucible run`: one program in a sandbox.

use std::io;
use std::path::Path;
use std::time::Duration;

use crucible::engine::OutputChunk;
use crucible::platform::{ShutdownReport, SubmitError, SubmitOptions};
use crucible::result::OutputStream;
use crucible::{Crucible, Handle, MemoryQueue, MemoryStorage, Outcome};
use tokio::sync::mpsc;

use crate::args::run::RunArgs;
use crate::commands::run_input::evaluation;
use crate::commands::run_report::{report, save_artifacts};
use crate::failure::{ExitStatus, Failure};
use crate::runtime::cpus;
use crate::terminal_text::GuestWriter;
use crate::{data, engines};

/// The number of output chunks that may wait for a slow terminal.
const OUTPUT_CHUNKS: usize = 64;

/// The time in which resumed evaluations may end: their own limits end them earlier.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a program, prints its output while it comes, then prints its verdict.
///
/// # Errors
/// Returns a failure for wrong arguments and for failures of the infrastructure.
pub(crate) async fn run(mut args: RunArgs, verbose: bool) -> Result<ExitStatus, Failure> {
    let evaluation = evaluation(&mut args)?;
    let crucible = start(&args).await?;
    let (sender, chunks) = mpsc::channel(OUTPUT_CHUNKS);
    let mut options = SubmitOptions::new();
    if !args.json {
        options = options.with_output(sender.clone());
    }
    // The output ends when its last sender is dropped.
    drop(sender);
    let handle =
        crucible.submit_with(evaluation, options).await.map_err(|error| refused(&error))?;
    let printed = tokio::task::spawn_blocking(move || print_output(chunks));
    let outcome = outcome(&handle).await?;
    // All output is printed before the verdict. The verdict matters even if no reader is left.
    match printed.await.map_err(|error| Failure::infrastructure(&error))? {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::infrastructure(&error));
        }
        _ => {}
    }
    if let Some(directory) = &args.into {
        save_artifacts(&outcome.artifacts, directory)?;
    }
    report(&outcome, args.json, verbose)?;
    if args.data.is_some() {
        data::report_queued(drain(&crucible).await?.queued);
    } else {
        crucible.shutdown(Duration::ZERO).await;
    }
    Ok(if outcome.is_success() { ExitStatus::Success } else { ExitStatus::Negative })
}

/// Starts a platform in memory or on the data directory.
async fn start(args: &RunArgs) -> Result<Crucible, Failure> {
    let engine = engines::create(&args.engine)?;
    let builder = Crucible::builder().engine(args.engine.name.as_str(), engine);
    let builder = match args.data.as_deref() {
        Some(path) => on_directory(builder, path).await?,
        None => builder.queue(MemoryQueue::bounded(1)).storage(MemoryStorage::new()).workers(1),
    };
    let crucible = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
    if args.data.is_some() {
        data::recover(&crucible).await?;
    }
    Ok(crucible)
}

/// Adds the data directory, with one more worker than resumed evaluations can occupy.
async fn on_directory(
    builder: crucible::platform::CrucibleBuilder,
    path: &Path,
) -> Result<crucible::platform::CrucibleBuilder, Failure> {
    let directory = data::open(path).await?;
    Ok(builder.queue(directory.queue()).storage(directory.storage()).workers(cpus() + 1))
}

/// Returns the failure of a submission that was not accepted.
fn refused(error: &SubmitError) -> Failure {
    match error {
        SubmitError::Invalid(problems) => Failure::usage(problems.to_string()),
        error => Failure::infrastructure(error),
    }
}

/// Waits for the outcome. Ctrl-C cancels the evaluation.
async fn outcome(handle: &Handle) -> Result<Outcome, Failure> {
    let outcome = tokio::select! {
        outcome = handle.outcome() => outcome,
        cancelled = cancel_on_interrupt(handle) => {
            cancelled?;
            handle.outcome().await
        }
    };
    outcome.map_err(|error| Failure::infrastructure(&error))
}

/// Waits for Ctrl-C, then cancels the evaluation.
async fn cancel_on_interrupt(handle: &Handle) -> Result<(), Failure> {
    tokio::signal::ctrl_c().await.map_err(|error| Failure::infrastructure(&error))?;
    eprintln!("cancelling");
    handle.cancel().await.map_err(|error| Failure::infrastructure(&error))?;
    Ok(())
}

/// Lets resumed evaluations end. Ctrl-C cancels them.
async fn drain(crucible: &Crucible) -> Result<ShutdownReport, Failure> {
    tokio::select! {
        report = crucible.shutdown(DRAIN) => Ok(report),
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(|error| Failure::infrastructure(&error))?;
            Ok(crucible.shutdown(Duration::ZERO).await)
        }
    }
}

/// Prints output while it comes.
fn print_output(mut chunks: mpsc::Receiver<OutputChunk>) -> io::Result<()> {
    let mut stdout = GuestWriter::new(io::stdout());
    let mut stderr = GuestWriter::new(io::stderr());
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk.stream {
            OutputStream::Stdout => stdout.write(&chunk.bytes)?,
            OutputStream::Stderr => stderr.write(&chunk.bytes)?,
        }
    }
    Ok(())
}
