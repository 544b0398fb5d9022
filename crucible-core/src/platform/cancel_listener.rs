//! The task that receives cancel requests from other hosts.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Interval, MissedTickBehavior};

use super::platform::Platform;
use crate::bus::{EventFilter, EventStream};
use crate::journal::EventKind;

/// The interval between removals of accepted evaluations that ended on another host.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The pause before a lost subscription is renewed.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// Cancels attempts of this process on request of other hosts.
#[derive(Debug)]
pub(super) struct CancelListener {
    platform: Arc<Platform>,
    sweeps: Interval,
}

impl CancelListener {
    pub(super) fn new(platform: Arc<Platform>) -> Self {
        let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { platform, sweeps }
    }

    /// Listens until the platform is closed.
    pub(super) async fn run(mut self) {
        let platform = Arc::clone(&self.platform);
        tokio::select! {
            () = platform.closed.cancelled() => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&mut self) {
        loop {
            let filter = EventFilter::all().with_kinds([EventKind::CancelRequested.name()]);
            match self.platform.bus().subscribe(filter).await {
                Ok(requests) => self.receive(requests).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot subscribe to cancel requests; trying again");
                }
            }
            tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
        }
    }

    /// Handles requests until the bus ends the subscription.
    async fn receive(&mut self, mut requests: EventStream) {
        loop {
            tokio::select! {
                _ = self.sweeps.tick() => self.forget_ended().await,
                request = requests.next() => match request {
                    Some(Ok(event)) => self.platform.running.cancel(event.evaluation),
                    // The lease renewal reads the record and finds a missed request.
                    Some(Err(lagged)) => tracing::warn!(%lagged, "missed cancel requests"),
                    None => return,
                },
            }
        }
    }

    /// Forgets accepted evaluations that ended on another host.
    async fn forget_ended(&self) {
        for id in self.platform.accepted.ids() {
            if let Ok(Some(record)) = self.platform.storage().record(id).await
                && record.state.is_terminal()
            {
                self.platform.accepted.remove(id);
            }
        }
    }
}
