//! Pauses between retries.

use std::time::Duration;

/// Returns the pauses between calls to an unavailable storage or queue.
///
/// They start at 20 ms and double up to 2 s. All of them together last ten minutes.
pub(super) fn retry_pauses() -> impl Iterator<Item = Duration> + Send {
    (0..300_u32).map(|round| Duration::from_millis(20 << round.min(7)).min(Duration::from_secs(2)))
}
