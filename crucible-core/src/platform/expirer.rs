//! The task that ends expired evaluations.

use std::sync::Arc;
use std::time::Duration;

use super::platform::Platform;

/// The pause before another attempt to write the end of an expired evaluation.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Ends evaluations that no worker started in time.
#[derive(Debug)]
pub(super) struct Expirer(pub(super) Arc<Platform>);

impl Expirer {
    /// Ends expired evaluations until the platform stops.
    pub(super) async fn run(self) {
        let platform = self.0;
        loop {
            let id = tokio::select! {
                () = platform.stop.cancelled() => return,
                id = platform.expiry.next() => id,
            };
            if let Err(error) = platform.expire(id).await {
                tracing::warn!(%id, %error, "cannot mark an evaluation as expired; trying again");
                platform.expiry.add(id, RETRY_PAUSE);
            }
        }
    }
}
