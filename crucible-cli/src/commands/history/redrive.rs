//! `crucible history redrive`: dead letters that run again.

use std::path::Path;
use std::time::Duration;

use crucible::Crucible;
use crucible::bus::LocalBus;
use crucible::journal::RecordState;
use crucible::model::EvaluationId;
use crucible::model::error_chain;
use crucible::storage::RecordQuery;
use futures::{TryStreamExt as _, future};

use crate::args::history::RedriveArgs;
use crate::data;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;
use crate::terminal_text::escaped;

/// The time that running programs have after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

/// Runs dead letters again and prints how each ends.
///
/// # Errors
/// Returns a failure if an evaluation is not a dead letter or the infrastructure fails.
pub(super) async fn redrive(path: &Path, args: RedriveArgs) -> Result<ExitStatus, Failure> {
    let workers = &args.workers;
    let bus = LocalBus::new();
    let platform = data::start_platform(path, &workers.engine, workers.count, bus).await?;
    let result = tokio::select! {
        result = run_again(&platform, args.id, args.all) => result,
        signal = tokio::signal::ctrl_c() => {
            eprintln!("stopping; queued evaluations stay in the directory");
            signal.map_err(|error| Failure::infrastructure(&error))
        }
    };
    let report = platform.shutdown(GRACE).await;
    result?;
    data::report_queued(report.queued);
    Ok(ExitStatus::Success)
}

/// Queues the dead letters, then waits for each.
async fn run_again(
    platform: &Crucible,
    mut ids: Vec<EvaluationId>,
    all: bool,
) -> Result<(), Failure> {
    if all {
        ids = dead_letters(platform).await?;
    }
    let mut handles = Vec::new();
    for id in ids {
        let handle = platform.redrive(id).await.map_err(|error| Failure::infrastructure(&error))?;
        handles.push((id, handle));
    }
    for (id, handle) in handles {
        let result = match handle.outcome().await {
            Ok(outcome) => outcome.verdict().to_string(),
            Err(error) => error_chain(&error),
        };
        print_line(&escaped(&format!("{id} again as {}: {result}", handle.id())))?;
    }
    Ok(())
}

/// Returns all dead letters.
async fn dead_letters(platform: &Crucible) -> Result<Vec<EvaluationId>, Failure> {
    let query =
        RecordQuery::new().with_state(RecordState::Failed).with_limit(RecordQuery::LIMIT_MAX);
    // `list` reports corrupt records.
    let ids = platform
        .records_stream(query)
        .try_filter_map(|record| future::ready(Ok(record.ok().map(|record| record.id))));
    ids.try_collect().await.map_err(|error| Failure::infrastructure(&error))
}
