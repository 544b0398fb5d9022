//! Removing what dead owners left.

use std::time::SystemTime;

use bollard::models::ContainerSummaryStateEnum;
use crucible_core::EngineError;
use futures::{StreamExt as _, stream};

use crate::daemon::Daemon;
use crate::owner::{Fate, Here};

/// How many are removed at once.
const AT_ONCE: usize = 8;

/// Removes every container whose owner is dead, or whose owner's lease on it is over. Gives how many there were.
///
/// # Errors
/// The daemon did not list them. What could not be removed is said in the log, and tried again the next time.
pub(crate) async fn reap(daemon: &Daemon) -> Result<usize, EngineError> {
    let (here, now) = (Here::look(), SystemTime::now());
    let dead: Vec<String> = daemon
        .list()
        .await?
        .into_iter()
        .filter_map(|container| {
            let runs = matches!(
                container.state,
                Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
            );
            let fate = here.judge(&container.labels.unwrap_or_default(), runs, now);
            // By its name, as everything else: the narrow proxy lets nobody at others.
            let name = container.names?.into_iter().next()?;
            (fate == Fate::Remove).then(|| name.trim_start_matches('/').to_owned())
        })
        .collect();
    let count = dead.len();
    stream::iter(dead)
        .for_each_concurrent(AT_ONCE, |name| async move {
            tracing::info!(container = name, "removing what a dead owner left");
            if let Err(error) = daemon.remove(&name).await {
                tracing::warn!(container = name, %error, "it could not be removed");
            }
        })
        .await;
    Ok(count)
}
