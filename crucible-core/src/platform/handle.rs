//! A handle on an accepted evaluation.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::error::WaitError;
use super::events::Events;
use super::shared::Shared;
use crate::bus::EventFilter;
use crate::journal::{EventKind, Record, RecordState};
use crate::model::EvaluationId;
use crate::result::Outcome;
use crate::storage::StorageError;

/// How often the storage is asked while the bus says nothing: a bus may lose the news, the storage does not.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// An accepted evaluation. Awaiting a handle gives the outcome.
///
/// Dropping a handle does not cancel the evaluation; [`Handle::cancel`] does. Handles are cheap to clone, and
/// [`Crucible::handle`](crate::Crucible::handle) makes one from an id, also on another host or after a restart.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    id: EvaluationId,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, id: EvaluationId) -> Self {
        Self { shared, id }
    }

    /// The evaluation's id.
    #[must_use]
    pub fn id(&self) -> EvaluationId {
        self.id
    }

    /// Where the evaluation stands.
    ///
    /// # Errors
    /// The storage failed, or does not know the evaluation.
    pub async fn status(&self) -> Result<Record, WaitError> {
        match self.shared.storage.record(self.id).await? {
            Some(record) => Ok(record),
            None => Err(WaitError::Unknown { evaluation: self.id }),
        }
    }

    /// Cancels the evaluation: one that waits is ended at once, one that runs is killed. `false` if it had already
    /// ended.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the request made or not made.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn cancel(&self) -> Result<bool, StorageError> {
        self.shared.cancel(self.id).await
    }

    /// What happened so far, then what happens, without gap or repeat, up to the last entry of the journal.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.shared), self.id)
    }

    /// Waits for the outcome. This is what awaiting the handle does.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the evaluation.
    ///
    /// # Errors
    /// See [`WaitError`]. Whatever the program did is an [`Outcome`].
    pub async fn outcome(&self) -> Result<Outcome, WaitError> {
        // Listen first, then look: what ends in between is seen by one of the two.
        let filter = EventFilter::evaluation(self.id).with_kinds(EventKind::TERMINAL);
        let mut news = match self.shared.bus.subscribe(filter).await {
            Ok(news) => Some(news),
            Err(error) => {
                tracing::warn!(id = %self.id, %error, "the bus is away; the storage is asked instead");
                None
            }
        };
        loop {
            let record = self.status().await?;
            if record.state.is_terminal() {
                return self.end(record).await;
            }
            let next = async {
                match news.as_mut() {
                    Some(stream) => stream.next().await.is_some(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                open = next => if !open { news = None },
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = self.shared.closed.cancelled() => {
                    let record = self.status().await?;
                    return if record.state.is_terminal() {
                        self.end(record).await
                    } else {
                        Err(WaitError::Closed { evaluation: self.id })
                    };
                }
            }
        }
    }

    async fn end(&self, record: Record) -> Result<Outcome, WaitError> {
        match (record.state, record.outcome) {
            (RecordState::Expired, _) => Err(WaitError::Expired { evaluation: self.id }),
            (RecordState::Failed, _) => {
                let report = record
                    .error
                    .unwrap_or_else(|| crate::ErrorReport::new("unknown", "no error was kept"));
                Err(WaitError::Failed { evaluation: self.id, report })
            }
            (_, Some(outcome)) => self.with_artifacts(Arc::unwrap_or_clone(outcome)).await,
            // Only what was never accepted ends without an outcome.
            (_, None) => {
                let reason = record.reason.unwrap_or_else(|| "no reason was kept".to_owned());
                Err(WaitError::NotAccepted { evaluation: self.id, reason })
            }
        }
    }

    /// Puts the bytes of artifacts back from the storage's blobs.
    async fn with_artifacts(&self, mut outcome: Outcome) -> Result<Outcome, WaitError> {
        for artifact in &mut outcome.artifacts {
            if artifact.content.is_none() {
                artifact.content = self.shared.storage.blob(artifact.sha256).await?;
            }
        }
        Ok(outcome)
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
