//! The storing of an outcome's artifacts.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::model::EvaluationId;
use crate::platform::backoff::retry_pauses;
use crate::result::{Outcome, SkipReason, Skipped};
use crate::storage::{Storage, StorageError};

/// Moves the contents of artifacts into blobs of the storage.
///
/// An artifact that cannot be stored becomes a skipped file of the outcome.
pub(super) async fn store_artifacts(
    storage: &dyn Storage,
    id: EvaluationId,
    outcome: &mut Outcome,
    lease_lost: &CancellationToken,
) {
    let mut stored = Vec::with_capacity(outcome.artifacts.len());
    for mut artifact in std::mem::take(&mut outcome.artifacts) {
        let content = artifact.content.take().unwrap_or_default();
        match put_blob(storage, content, lease_lost).await {
            Ok(()) => stored.push(artifact),
            Err(error) => {
                let path = &artifact.path;
                tracing::error!(%id, %path, %error, "cannot store an artifact");
                outcome.skipped.push(Skipped::new(path.as_str(), SkipReason::NotStored));
            }
        }
    }
    outcome.artifacts = stored;
}

/// Stores a blob. Tries again while the storage is unavailable and the lease is held.
async fn put_blob(
    storage: &dyn Storage,
    content: Bytes,
    lease_lost: &CancellationToken,
) -> Result<(), StorageError> {
    let mut pauses = retry_pauses();
    loop {
        match storage.put_blob(content.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_retryable() && !lease_lost.is_cancelled() => {
                let Some(pause) = pauses.next() else { return Err(error) };
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
    }
}
