//! The renewal of a claim's lease.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::queue::{Claim, Queue, QueueError};
use crate::storage::Storage;

/// The time between giving up on a lease and its end. It leaves time to end the run before another
/// worker starts one. If a tenth of the lease is shorter, that is the margin.
const MARGIN: Duration = Duration::from_secs(1);

/// Renews the lease of a claim while its attempt runs, and watches for cancel requests.
#[derive(Debug)]
pub(super) struct LeaseRenewal<'a> {
    pub(super) queue: &'a dyn Queue,
    pub(super) storage: &'a dyn Storage,
    pub(super) claim: &'a Claim,
    pub(super) lease: Duration,
    /// Cancelled when the lease is lost.
    pub(super) lease_lost: &'a CancellationToken,
    /// Cancelled when the record has a cancel request.
    pub(super) cancel: &'a CancellationToken,
}

impl LeaseRenewal<'_> {
    /// Renews the lease every third of its length until it is lost.
    ///
    /// A lease is lost if the queue reports so, or if no renewal succeeds until shortly before its
    /// end. After each renewal this also reads the record: the bus may lose a cancel request from
    /// another host.
    pub(super) async fn run(&self, claimed_at: Instant) {
        let evaluation = self.claim.ticket.evaluation;
        let lease = self.lease;
        let margin = MARGIN.min(lease / 10);
        let (mut renew_at, mut lost_at) = (claimed_at + lease / 3, claimed_at + lease - margin);
        loop {
            sleep_until(renew_at.min(lost_at)).await;
            let sent_at = Instant::now();
            // A queue that does not answer is treated like an unavailable one.
            match timeout_at(lost_at, self.queue.extend(self.claim, lease)).await {
                Ok(Ok(())) => (renew_at, lost_at) = (sent_at + lease / 3, sent_at + lease - margin),
                Ok(Err(QueueError::Lost { .. })) => {
                    tracing::warn!(%evaluation, "the lease is lost");
                    self.lease_lost.cancel();
                    return;
                }
                Ok(Err(error)) if Instant::now() < lost_at => {
                    tracing::warn!(%evaluation, %error, "cannot renew the lease; trying again");
                    renew_at = Instant::now() + lease / 10;
                    continue;
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(%evaluation, "cannot renew the lease in time");
                    self.lease_lost.cancel();
                    return;
                }
            }
            self.check_cancel_request().await;
        }
    }

    /// Cancels the run if its record has a cancel request.
    async fn check_cancel_request(&self) {
        // The limit keeps a storage that does not answer from delaying the next renewal.
        let record = self.storage.record(self.claim.ticket.evaluation);
        if let Ok(Ok(Some(record))) = timeout(self.lease / 10, record).await
            && record.cancel_requested
        {
            self.cancel.cancel();
        }
    }
}
