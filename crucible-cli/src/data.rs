//! Data directories, and platforms on them.

use std::path::Path;

use crucible::Crucible;
use crucible::bus::LocalBus;
use crucible::model::Evaluation;
use crucible::model::error_chain;
use crucible::platform::{BuildError, RecoverError};
use crucible::storage::{DataDirectory, OpenDirectoryError};

use crate::args::engine::EngineArgs;
use crate::engines;
use crate::failure::Failure;
use crate::runtime::cpus;
use crate::terminal_text::escaped;

/// Opens a data directory, and creates it if it does not exist.
///
/// # Errors
/// Returns a failure if the directory is in use or cannot be opened.
pub(crate) async fn open(path: &Path) -> Result<DataDirectory, Failure> {
    DataDirectory::open(path).await.map_err(|error| match error {
        error @ OpenDirectoryError::InUse { .. } => Failure::usage(error_chain(&error))
            .with_fix("wait until that process ends, or use another directory"),
        error => Failure::infrastructure(&error),
    })
}

/// Opens a data directory that must exist.
///
/// # Errors
/// Returns a failure if the directory does not exist, is in use, or cannot be opened.
pub(crate) async fn open_existing(path: &Path) -> Result<DataDirectory, Failure> {
    if !path.is_dir() {
        return Err(Failure::file("open", path, &"no such directory")
            .with_fix("create one with `crucible run --data DIR FILE`"));
    }
    open(path).await
}

/// Starts a platform on a data directory that must exist, and resumes unfinished evaluations.
///
/// # Errors
/// Returns a failure if the directory, the engine or the platform cannot start.
pub(crate) async fn start_platform(
    path: &Path,
    engine: &EngineArgs,
    workers: Option<usize>,
    bus: LocalBus,
) -> Result<Crucible, Failure> {
    let directory = open_existing(path).await?;
    let crucible = Crucible::builder()
        .engine(engine.name.as_str(), engines::create(engine)?)
        .storage(directory.storage())
        .queue(directory.queue())
        .bus(bus)
        .workers(workers.unwrap_or_else(cpus))
        .build()
        .map_err(|error: BuildError| Failure::usage(error.to_string()))?;
    recover(&crucible).await?;
    Ok(crucible)
}

/// Resumes the evaluations that an earlier process accepted and did not finish. Reports corrupt
/// records on standard error.
///
/// # Errors
/// Returns a failure if the storage or the queue fails.
pub(crate) async fn recover(crucible: &Crucible) -> Result<(), Failure> {
    let report =
        crucible.recover().await.map_err(|error: RecoverError| Failure::infrastructure(&error))?;
    for corrupt in &report.corrupt {
        eprintln!("corrupt: evaluation {}: {}", corrupt.evaluation, escaped(&corrupt.problem));
    }
    Ok(())
}

/// Reports on standard error how many evaluations wait in the data directory.
pub(crate) fn report_queued(queued: Option<u64>) {
    match queued {
        Some(0) => {}
        Some(count) => eprintln!(
            "{count} evaluations wait in the data directory; `crucible history follow` runs them"
        ),
        None => eprintln!("cannot count the waiting evaluations: the queue is unavailable"),
    }
}

/// Returns the key of the batch line that an evaluation came from, or its idempotency key, or null.
pub(crate) fn line_key(evaluation: &Evaluation) -> serde_json::Value {
    let Some(key) = &evaluation.idempotency_key else { return serde_json::Value::Null };
    if key.starts_with("line ") {
        return serde_json::Value::Null;
    }
    serde_json::from_str(key).unwrap_or_else(|_| serde_json::Value::String(key.clone()))
}
