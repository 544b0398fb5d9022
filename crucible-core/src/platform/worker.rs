//! The loop of a worker.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use super::attempt::Attempt;
use super::platform::Platform;
use crate::model::WorkerId;

/// The longest wait of one claim. A queue wakes waiting workers, so this only bounds the cost of a
/// lost wake-up.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// The first pause before another call to an unavailable queue. It doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A worker: claims tickets and runs one attempt at a time.
#[derive(Debug)]
pub(super) struct Worker {
    platform: Arc<Platform>,
    id: WorkerId,
}

impl Worker {
    pub(super) fn new(platform: Arc<Platform>, id: WorkerId) -> Self {
        Self { platform, id }
    }

    /// Works until the platform stops.
    pub(super) async fn run(self) {
        // `EngineRun` catches panics of an engine. After a panic of another backend, the worker
        // continues. The ticket returns to the queue when its lease expires.
        while AssertUnwindSafe(self.process_tickets()).catch_unwind().await.is_err() {
            let worker = &self.id;
            tracing::error!(%worker, "a queue, a storage or a bus panicked; the worker continues");
            tokio::select! {
                () = tokio::time::sleep(FIRST_PAUSE) => {}
                () = self.platform.stop.cancelled() => break,
            }
        }
    }

    async fn process_tickets(&self) {
        let Self { platform, id } = self;
        let mut pause = FIRST_PAUSE;
        while !platform.stop.is_cancelled() {
            let claim = tokio::select! {
                biased;
                () = platform.stop.cancelled() => break,
                claim = platform.queue.claim(id, platform.config.lease, CLAIM_WAIT) => claim,
            };
            match claim {
                Ok(Some(claim)) => {
                    pause = FIRST_PAUSE;
                    Attempt::new(platform, id, &claim).run().await;
                }
                Ok(None) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(worker = %id, %error, "cannot claim a ticket; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
                        () = platform.stop.cancelled() => break,
                    }
                }
            }
        }
    }
}
