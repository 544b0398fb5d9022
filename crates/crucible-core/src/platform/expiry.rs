//! Evaluations that nobody took in time.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::event::EventKind;
use crate::id::EvaluationId;
use crate::record::State;
use crate::storage::StorageError;

/// Ends an evaluation as `Expired` if it was not started `after` from now. A worker that claims it later does the same,
/// so nothing depends on this task: it makes the answer come in time.
pub(super) fn watch(shared: &Arc<Shared>, id: EvaluationId, after: Duration) {
    let shared_by_task = Arc::clone(shared);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = shared_by_task.stop.cancelled() => {}
            () = tokio::time::sleep(after) => {
                if let Err(error) = expire(&shared_by_task, id).await {
                    tracing::warn!(%id, %error, "an evaluation was not marked as expired");
                }
            }
        }
    });
}

async fn expire(shared: &Shared, id: EvaluationId) -> Result<(), StorageError> {
    loop {
        let Some(record) = shared.storage.record(id).await? else { return Ok(()) };
        if record.state != State::Queued || record.attempt > 0 {
            return Ok(());
        }
        match shared.commit(&record, vec![EventKind::Expired]).await {
            Ok(_) => break,
            Err(StorageError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    shared.drop_ticket(id).await;
    Ok(())
}
