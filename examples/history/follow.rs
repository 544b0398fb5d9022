//! Running what waits, and looking on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crucible::{
    Crucible, EvaluationId, Event, EventBus as _, EventFilter, EventStream, EventsError, Lagged,
    LocalBus, RecordQuery, RecordState,
};
use futures::{FutureExt as _, StreamExt as _};

use crate::common::{Failure, inert, json_line};
use crate::data::{self, Engine};
use crate::{line, show};

#[derive(Debug, clap::Args)]
pub(crate) struct FollowArgs {
    /// Only this evaluation: its journal so far, and what comes, until it has ended.
    id: Option<EvaluationId>,
    /// Print an entry a line, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

/// How long what runs has to end after Ctrl-C before it is ended. What may run twice is left for the next time.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn follow(path: &Path, args: FollowArgs) -> Result<u8, Failure> {
    // Listening begins before anything runs.
    let bus = LocalBus::new();
    let filter = EventFilter::all().without_signals();
    let mut events =
        bus.subscribe(filter).await.map_err(|error| Failure::infrastructure(&error))?;
    let platform = data::platform(path, &args.engine, bus).await?;
    let told = tokio::select! {
        told = async {
            match args.id {
                Some(id) => one(&platform, id, args.json).await,
                None => tokio::select! {
                    told = tell_all(&mut events, args.json) => told,
                    ended = until_nothing_waits(&platform) => ended,
                },
            }
        } => told,
        signal = tokio::signal::ctrl_c() => {
            eprintln!("stopping; what waits stays in the directory");
            signal.map_err(|error| Failure::infrastructure(&error))
        }
    };
    let report = platform.shutdown(GRACE).await;
    drop(platform);
    told?;
    if args.id.is_none() {
        // What was said last: the stream ends with the platform that speaks on it.
        while let Some(Some(event)) = events.next().now_or_never() {
            tell_one(event, args.json)?;
        }
    }
    data::tell_waiting(report.queued);
    Ok(0)
}

async fn one(platform: &Crucible, id: EvaluationId, json: bool) -> Result<(), Failure> {
    let record = platform.record(id).await.map_err(|error| Failure::infrastructure(&error))?;
    record.ok_or_else(|| Failure::usage(format!("there is no evaluation {id}; see `list`")))?;
    let mut events = platform.handle(id).events();
    while let Some(event) = events.next().await {
        match event {
            // Live output is not shown; that some was missed is no matter.
            Err(EventsError::Lagged(_)) => {}
            Err(error) => return Err(Failure::infrastructure(&error)),
            Ok(event) if event.kind.is_signal() => {}
            Ok(event) => tell(&event, json)?,
        }
    }
    Ok(())
}

async fn tell_all(events: &mut EventStream, json: bool) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        tell_one(event, json)?;
    }
    Ok(())
}

fn tell_one(event: Result<Arc<Event>, Lagged>, json: bool) -> Result<(), Failure> {
    match event {
        Ok(event) => tell(&event, json),
        Err(lagged) => {
            eprintln!(
                "{} entries came faster than they could be printed; `show` has them",
                lagged.missed
            );
            Ok(())
        }
    }
}

/// Until everything has ended.
async fn until_nothing_waits(platform: &Crucible) -> Result<(), Failure> {
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn tell(event: &Event, json: bool) -> Result<(), Failure> {
    if json {
        return line(&json_line(event).map_err(|error| Failure::infrastructure(&error))?);
    }
    let (id, kind) = (event.evaluation, event.kind.name());
    line(&format!(
        "{} {id} {:>3} {kind:<14} {}",
        event.time,
        event.sequence,
        inert(&show::detail(&event.kind))
    ))
}
