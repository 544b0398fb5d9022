//! What examples that keep a data directory share.

use std::path::Path;

use crucible::{
    BuildError, Crucible, DataDirectory, Evaluation, Layer, LocalBus, OpenDirectoryError,
    RecoverError,
};

use crate::common::{Failure, engine};

/// Which engine runs what waits.
#[derive(Debug, clap::Args)]
pub(crate) struct Engine {
    /// The engine to run what waits on.
    #[arg(long = "engine", default_value = "subprocess", value_name = "ENGINE")]
    pub(crate) name: String,
    /// Go without a layer, by its name, as `evaluate doctor` lists them.
    #[arg(long, value_name = "LAYER")]
    pub(crate) waive: Vec<Layer>,
    /// How many run at once; by default as many as there are CPUs.
    #[arg(long, value_name = "COUNT")]
    pub(crate) workers: Option<usize>,
}

/// Opens a data directory, which is made if there is none.
pub(crate) async fn open(path: &Path) -> Result<DataDirectory, Failure> {
    DataDirectory::open(path).await.map_err(|error| match error {
        error @ OpenDirectoryError::InUse { .. } => Failure::usage(crucible::error_chain(&error)),
        error => Failure::infrastructure(&error),
    })
}

/// Opens a data directory that must be there.
pub(crate) async fn existing(path: &Path) -> Result<DataDirectory, Failure> {
    if !path.is_dir() {
        let message =
            format!("{}: there is no such directory; `evaluate --data` makes one", path.display());
        return Err(Failure::usage(message));
    }
    open(path).await
}

/// A platform on a data directory that must be there, which goes on with what was not done.
pub(crate) async fn platform(
    path: &Path,
    wanted: &Engine,
    bus: LocalBus,
) -> Result<Crucible, Failure> {
    let directory = existing(path).await?;
    let workers = wanted.workers.unwrap_or_else(cpus);
    let builder = Crucible::builder()
        .engine(wanted.name.as_str(), engine(&wanted.name, &wanted.waive)?)
        .storage(directory.storage())
        .queue(directory.queue())
        .bus(bus)
        .workers(workers);
    let crucible =
        builder.build().map_err(|error: BuildError| Failure::usage(error.to_string()))?;
    recover(&crucible).await?;
    Ok(crucible)
}

/// Goes on with what a process before this one accepted and did not end.
pub(crate) async fn recover(crucible: &Crucible) -> Result<(), Failure> {
    let report =
        crucible.recover().await.map_err(|error: RecoverError| Failure::infrastructure(&error))?;
    for damaged in &report.corrupt {
        eprintln!(
            "damaged: evaluation {}: {}",
            damaged.evaluation,
            crate::common::inert(&damaged.problem)
        );
    }
    Ok(())
}

pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Says that something waits for whoever opens the directory next.
pub(crate) fn tell_waiting(queued: Option<u64>) {
    match queued {
        Some(0) => {}
        Some(count) => eprintln!("{count} wait in the data directory; `history follow` runs them"),
        None => eprintln!("the queue could not be asked what waits"),
    }
}

/// The key of the batch's line that an evaluation came from, or its idempotency key; null if it has neither.
pub(crate) fn line_key(evaluation: &Evaluation) -> serde_json::Value {
    let Some(key) = &evaluation.idempotency_key else { return serde_json::Value::Null };
    if key.starts_with("line ") {
        return serde_json::Value::Null;
    }
    serde_json::from_str(key).unwrap_or_else(|_| serde_json::Value::String(key.clone()))
}
