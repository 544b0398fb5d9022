//! `crucible history follow`: runs the waiting evaluations and prints their journal entries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crucible::Crucible;
use crucible::bus::{EventBus as _, EventFilter, EventStream, Lagged, LocalBus};
use crucible::journal::{Event, RecordState};
use crucible::model::EvaluationId;
use crucible::platform::EventsError;
use crucible::storage::RecordQuery;
use futures::{FutureExt as _, StreamExt as _};

use super::show::event_detail;
use crate::args::history::FollowArgs;
use crate::data;
use crate::failure::{ExitStatus, Failure};
use crate::json;
use crate::output::print_line;
use crate::terminal_text::escaped;

/// The time that running programs have after Ctrl-C. Programs that may run twice stay in the
/// directory for the next time.
const GRACE: Duration = Duration::from_secs(5);

/// The time between two checks whether an evaluation still waits.
const POLL: Duration = Duration::from_millis(100);

/// Runs the waiting evaluations until none waits or Ctrl-C.
///
/// # Errors
/// Returns a failure if the evaluation does not exist or the infrastructure fails.
pub(super) async fn follow(path: &Path, args: FollowArgs) -> Result<ExitStatus, Failure> {
    // The subscription exists before the first evaluation runs.
    let bus = LocalBus::new();
    let filter = EventFilter::all().without_signals();
    let mut events =
        bus.subscribe(filter).await.map_err(|error| Failure::infrastructure(&error))?;
    let workers = &args.workers;
    let platform = data::start_platform(path, &workers.engine, workers.count, bus).await?;
    let result = tokio::select! {
        result = print_until_idle(&platform, &mut events, &args) => result,
        signal = tokio::signal::ctrl_c() => {
            eprintln!("stopping; waiting evaluations stay in the directory");
            signal.map_err(|error| Failure::infrastructure(&error))
        }
    };
    let report = platform.shutdown(GRACE).await;
    drop(platform);
    result?;
    if args.id.is_none() {
        // The last entries: the stream ends with the platform that publishes to it.
        while let Some(Some(event)) = events.next().now_or_never() {
            print_event_or_lag(event, args.json)?;
        }
    }
    data::report_queued(report.queued);
    Ok(ExitStatus::Success)
}

/// Prints the entries of one evaluation until it has ended, or all entries until none waits.
async fn print_until_idle(
    platform: &Crucible,
    events: &mut EventStream,
    args: &FollowArgs,
) -> Result<(), Failure> {
    match args.id {
        Some(id) => print_evaluation(platform, id, args.json).await,
        None => tokio::select! {
            result = print_all(events, args.json) => result,
            idle = wait_until_idle(platform) => idle,
        },
    }
}

/// Prints the journal of an evaluation, and its new entries until it has ended.
async fn print_evaluation(
    platform: &Crucible,
    id: EvaluationId,
    json: bool,
) -> Result<(), Failure> {
    let record = platform.record(id).await.map_err(|error| Failure::infrastructure(&error))?;
    if record.is_none() {
        return Err(Failure::usage(format!("no evaluation {id}"))
            .with_fix("see `crucible history list` for the evaluations"));
    }
    let mut events = platform.handle(id).events();
    while let Some(event) = events.next().await {
        match event {
            // Only live output can be missed, and it is not printed.
            Err(EventsError::Lagged(_)) => {}
            Err(error) => return Err(Failure::infrastructure(&error)),
            Ok(event) if event.kind.is_signal() => {}
            Ok(event) => print_event(&event, json)?,
        }
    }
    Ok(())
}

/// Prints all entries.
async fn print_all(events: &mut EventStream, json: bool) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        print_event_or_lag(event, json)?;
    }
    Ok(())
}

/// Prints an entry, or reports the number of missed entries.
fn print_event_or_lag(event: Result<Arc<Event>, Lagged>, json: bool) -> Result<(), Failure> {
    match event {
        Ok(event) => print_event(&event, json),
        Err(lagged) => {
            eprintln!(
                "{} entries were not printed in time; `crucible history show` has them",
                lagged.missed
            );
            Ok(())
        }
    }
}

/// Waits until no evaluation is queued or running.
async fn wait_until_idle(platform: &Crucible) -> Result<(), Failure> {
    let live = RecordQuery::new()
        .with_state(RecordState::Queued)
        .with_state(RecordState::Running)
        .with_limit(1);
    loop {
        let page =
            platform.records(&live).await.map_err(|error| Failure::infrastructure(&error))?;
        if page.records.is_empty() && page.next.is_none() {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints an entry.
fn print_event(event: &Event, json: bool) -> Result<(), Failure> {
    if json {
        return print_line(&json::to_line(event)?);
    }
    let (id, kind) = (event.evaluation, event.kind.name());
    print_line(&format!(
        "{} {id} {:>3} {kind:<14} {}",
        event.time,
        event.sequence,
        escaped(&event_detail(&event.kind))
    ))
}
