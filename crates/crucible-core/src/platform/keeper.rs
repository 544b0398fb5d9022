//! Keeping a lease while the work lasts.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::queue::{Claim, QueueError};

impl Shared {
    /// Renews the lease of `claim` three times a lease, for ever; cancels `lost` when the lease is lost, or when it must
    /// be taken for lost because the queue could not be reached until it ran out.
    ///
    /// Also looks whether somebody on another host asked to cancel: the bus says so at once, but a bus may lose it.
    pub(super) async fn keep(&self, claim: &Claim, lost: &CancellationToken, cancel: &CancellationToken) {
        let lease = self.config.lease;
        let mut ends = Instant::now() + lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            let asked = Instant::now();
            match self.queue.extend(claim, lease).await {
                Ok(()) => ends = asked + lease,
                Err(QueueError::Lost { .. }) => {
                    tracing::warn!(evaluation = %claim.ticket.evaluation, "the lease was lost");
                    lost.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(evaluation = %claim.ticket.evaluation, %error, "the lease was not renewed");
                    if Instant::now() + MARGIN.min(lease / 10) >= ends {
                        lost.cancel();
                        return;
                    }
                }
            }
            if let Ok(Some(record)) = self.storage.record(claim.ticket.evaluation).await
                && record.cancel_requested
            {
                cancel.cancel();
            }
        }
    }
}

/// How long before its end a lease that cannot be renewed is taken for lost: time to end the run.
const MARGIN: Duration = Duration::from_secs(1);
