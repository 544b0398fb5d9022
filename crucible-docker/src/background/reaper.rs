//! Removal of the containers of dead owners.

use std::time::SystemTime;

use bollard::models::ContainerSummaryStateEnum;
use crucible_core::EngineError;
use futures::{StreamExt as _, stream};

use crate::connection::Daemon;
use crate::ownership::{LocalHost, ReapDecision};

/// The number of containers that are removed in parallel.
const CONCURRENT_REMOVALS: usize = 8;

/// Removes the containers of dead owners and those with an ended lease. Returns the number of these
/// containers.
///
/// # Errors
/// Returns an error if the daemon does not list its containers. A failed removal is logged and
/// repeated the next time.
pub(crate) async fn reap(daemon: &Daemon) -> Result<usize, EngineError> {
    let (host, now) = (LocalHost::detect(), SystemTime::now());
    let dead: Vec<String> = daemon
        .list()
        .await?
        .into_iter()
        .filter_map(|container| {
            let is_running = matches!(
                container.state,
                Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
            );
            let decision = host.decide(&container.labels.unwrap_or_default(), is_running, now);
            // All calls use the name: the proxy refuses container ids.
            let name = container.names?.into_iter().next()?;
            (decision == ReapDecision::Remove).then(|| name.trim_start_matches('/').to_owned())
        })
        .collect();
    let count = dead.len();
    stream::iter(dead)
        .for_each_concurrent(CONCURRENT_REMOVALS, |name| async move {
            tracing::info!(container = name, "removing a container of a dead owner");
            if let Err(error) = daemon.remove(&name).await {
                tracing::warn!(container = name, %error, "cannot remove a dead owner's container");
            }
        })
        .await;
    Ok(count)
}
