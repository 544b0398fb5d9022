//! Keeping a lease while the work lasts.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::queue::{Claim, QueueError};

/// How long before its end a lease that cannot be renewed is taken for lost: time to end the run before another begins.
/// A tenth of the lease, where that is less.
const MARGIN: Duration = Duration::from_secs(1);

impl Shared {
    /// Renews the lease of `claim`, which was handed out at `claimed`, three times a lease, for ever; cancels `lost` when
    /// the lease is lost, or when it must be taken for lost because the queue could not be reached until it ran out.
    ///
    /// Also looks whether somebody on another host asked to cancel: the bus says so at once, but a bus may lose it.
    pub(super) async fn keep(
        &self,
        claim: &Claim,
        claimed: Instant,
        lost: &CancellationToken,
        cancel: &CancellationToken,
    ) {
        let evaluation = claim.ticket.evaluation;
        let lease = self.config.lease;
        let margin = MARGIN.min(lease / 10);
        let (mut renew_at, mut gone_at) = (claimed + lease / 3, claimed + lease - margin);
        loop {
            sleep_until(renew_at.min(gone_at)).await;
            let asked = Instant::now();
            // A queue that does not answer is as good as one that is away.
            match timeout_at(gone_at, self.queue.extend(claim, lease)).await {
                Ok(Ok(())) => (renew_at, gone_at) = (asked + lease / 3, asked + lease - margin),
                Ok(Err(QueueError::Lost { .. })) => {
                    tracing::warn!(%evaluation, "the lease was lost");
                    lost.cancel();
                    return;
                }
                Ok(Err(error)) if Instant::now() < gone_at => {
                    tracing::warn!(%evaluation, %error, "the lease was not renewed; trying again");
                    renew_at = Instant::now() + lease / 10;
                    continue;
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(%evaluation, "the lease could not be renewed, and is taken for lost");
                    lost.cancel();
                    return;
                }
            }
            // No longer than this: the next renewal must not wait for a storage that does not answer.
            if let Ok(Ok(Some(record))) = timeout(lease / 10, self.storage.record(evaluation)).await
                && record.cancel_requested
            {
                cancel.cancel();
            }
        }
    }
}
