//! A worker: takes one ticket after another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use super::shared::Shared;
use crate::model::WorkerId;

/// How long a claim waits for a ticket before it asks anew. A queue wakes whoever waits; this bounds what a lost
/// wake-up costs.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// The pause before a queue that is away is asked again; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Takes tickets until the platform stops.
pub(super) async fn work(shared: Arc<Shared>, worker: WorkerId) {
    // An engine that panics is dealt with where it is run. A backend that panics must not cost the platform a worker;
    // the ticket comes back when its lease runs out.
    while AssertUnwindSafe(take_tickets(&shared, &worker)).catch_unwind().await.is_err() {
        tracing::error!(%worker, "a queue, a storage or a bus panicked; the worker goes on");
        tokio::select! {
            () = tokio::time::sleep(PAUSE_FIRST) => {}
            () = shared.stop.cancelled() => break,
        }
    }
}

async fn take_tickets(shared: &Shared, worker: &WorkerId) {
    let mut pause = PAUSE_FIRST;
    while !shared.stop.is_cancelled() {
        let claim = tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            claim = shared.queue.claim(worker, shared.config.lease, CLAIM_WAIT) => claim,
        };
        match claim {
            Ok(Some(claim)) => {
                pause = PAUSE_FIRST;
                shared.attempt(worker, claim).await;
            }
            Ok(None) => pause = PAUSE_FIRST,
            Err(error) => {
                tracing::warn!(%worker, %error, "no ticket could be claimed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                    () = shared.stop.cancelled() => break,
                }
            }
        }
    }
}
