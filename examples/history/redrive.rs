//! Running dead letters again.

use std::path::Path;
use std::time::Duration;

use crucible::{Crucible, EvaluationId, LocalBus, RecordQuery, RecordState};
use futures::TryStreamExt as _;

use crate::common::Failure;
use crate::data::{self, Engine};
use crate::line;

#[derive(Debug, clap::Args)]
pub(crate) struct RedriveArgs {
    /// The dead letters.
    #[arg(required_unless_present = "all")]
    id: Vec<EvaluationId>,
    /// All dead letters that there are.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    engine: Engine,
}

/// How long what runs has to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn redrive(path: &Path, args: RedriveArgs) -> Result<u8, Failure> {
    let platform = data::platform(path, &args.engine, LocalBus::new()).await?;
    let done = tokio::select! {
        done = again(&platform, args.id, args.all) => done,
        signal = tokio::signal::ctrl_c() => {
            eprintln!("stopping; what was queued again stays in the directory");
            signal.map_err(|error| Failure::infrastructure(&error))
        }
    };
    let report = platform.shutdown(GRACE).await;
    done?;
    data::tell_waiting(report.queued);
    Ok(0)
}

/// Queues all of them again, and then waits for each.
async fn again(platform: &Crucible, mut ids: Vec<EvaluationId>, all: bool) -> Result<(), Failure> {
    if all {
        let query =
            RecordQuery::new().with_state(RecordState::Failed).with_limit(RecordQuery::LIMIT_MAX);
        let mut records = platform.records_stream(query);
        while let Some(record) =
            records.try_next().await.map_err(|error| Failure::infrastructure(&error))?
        {
            // `list` reports corrupt records.
            ids.extend(record.map(|record| record.id));
        }
    }
    let mut handles = Vec::new();
    for id in ids {
        let handle = platform.redrive(id).await.map_err(|error| Failure::infrastructure(&error))?;
        handles.push((id, handle));
    }
    for (id, handle) in handles {
        let came = match handle.outcome().await {
            Ok(outcome) => outcome.verdict().to_string(),
            Err(error) => crucible::error_chain(&error),
        };
        line(&crate::common::inert(&format!("{id} again as {}: {came}", handle.id())))?;
    }
    Ok(())
}
