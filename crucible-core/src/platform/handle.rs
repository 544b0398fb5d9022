//! The handle of an accepted evaluation.

use std::fmt;
use std::future::{self, Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::error::WaitError;
use super::events::Events;
use super::platform::Platform;
use crate::bus::{EventFilter, EventStream};
use crate::journal::{EventKind, Record, RecordState};
use crate::model::{ErrorReport, EvaluationId};
use crate::result::Outcome;
use crate::storage::StorageError;

/// The interval between reads of the storage while the bus is silent. A bus may lose events.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// An accepted evaluation. Awaiting a handle returns the outcome.
///
/// Dropping a handle does not cancel the evaluation; [`Handle::cancel`] does. Handles are cheap to
/// clone. [`Crucible::handle`](crate::Crucible::handle) creates one from an id, also on another
/// host or after a restart.
#[derive(Clone)]
pub struct Handle {
    platform: Arc<Platform>,
    id: EvaluationId,
}

impl Handle {
    pub(super) fn new(platform: Arc<Platform>, id: EvaluationId) -> Self {
        Self { platform, id }
    }

    /// Returns the id of the evaluation.
    #[must_use]
    pub fn id(&self) -> EvaluationId {
        self.id
    }

    /// Returns the current record of the evaluation.
    ///
    /// # Errors
    /// Returns an error if the storage fails or has no such evaluation.
    pub async fn status(&self) -> Result<Record, WaitError> {
        match self.platform.storage().record(self.id).await? {
            Some(record) => Ok(record),
            None => Err(WaitError::Unknown { evaluation: self.id }),
        }
    }

    /// Cancels the evaluation. A queued evaluation ends immediately; a running program is killed.
    /// Returns `false` if the evaluation has already ended.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the request either made or not made.
    ///
    /// # Errors
    /// Returns an error if the storage fails.
    pub async fn cancel(&self) -> Result<bool, StorageError> {
        self.platform.cancel(self.id).await
    }

    /// Returns the events of the evaluation: first its journal, then new events, without gap or
    /// repeat. The stream ends after the last journal entry.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.platform), self.id)
    }

    /// Waits for the outcome. Awaiting the handle does the same.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the evaluation.
    ///
    /// # Errors
    /// See [`WaitError`]. Everything that the program does is an [`Outcome`], not an error.
    pub async fn outcome(&self) -> Result<Outcome, WaitError> {
        // The subscription comes before the first read, so that no end is missed between the two.
        let filter = EventFilter::evaluation(self.id).with_kinds(EventKind::TERMINAL);
        let mut events = match self.platform.bus().subscribe(filter).await {
            Ok(events) => Some(events),
            Err(error) => {
                let id = self.id;
                tracing::warn!(%id, %error, "cannot subscribe to the bus; polling the storage");
                None
            }
        };
        loop {
            let record = self.status().await?;
            if record.state.is_terminal() {
                return self.result(record).await;
            }
            tokio::select! {
                open = next_event(&mut events) => if !open { events = None },
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.platform.closed.cancelled() => {
                    let record = self.status().await?;
                    if record.state.is_terminal() {
                        return self.result(record).await;
                    }
                    return Err(WaitError::Closed { evaluation: self.id });
                }
            }
        }
    }

    /// Returns the outcome or the error of an ended evaluation.
    async fn result(&self, record: Record) -> Result<Outcome, WaitError> {
        match (record.state, record.outcome) {
            (RecordState::Expired, _) => Err(WaitError::Expired { evaluation: self.id }),
            (RecordState::Failed, _) => {
                let report = record
                    .error
                    .unwrap_or_else(|| ErrorReport::new("unknown", "the record has no error"));
                Err(WaitError::Failed { evaluation: self.id, report })
            }
            (_, Some(outcome)) => self.with_artifacts(Arc::unwrap_or_clone(outcome)).await,
            // Only an evaluation that was not accepted ends without an outcome.
            (_, None) => {
                let reason = record.reason.unwrap_or_else(|| "the record has no reason".to_owned());
                Err(WaitError::NotAccepted { evaluation: self.id, reason })
            }
        }
    }

    /// Adds the contents of the artifacts from the storage's blobs.
    async fn with_artifacts(&self, mut outcome: Outcome) -> Result<Outcome, WaitError> {
        for artifact in &mut outcome.artifacts {
            if artifact.content.is_none() {
                artifact.content = self.platform.storage().blob(artifact.sha256).await?;
            }
        }
        Ok(outcome)
    }
}

/// Waits for the next event. Returns `false` if the subscription has ended.
async fn next_event(events: &mut Option<EventStream>) -> bool {
    match events {
        Some(events) => events.next().await.is_some(),
        None => future::pending().await,
    }
}

impl IntoFuture for Handle {
    type Output = Result<Outcome, WaitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.outcome().await })
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.id)
    }
}
