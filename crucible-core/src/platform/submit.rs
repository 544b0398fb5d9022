//! Checking what is submitted.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::SubmitError;
use super::handle::Handle;
use super::shared::Shared;
use crate::engine::{EvaluationPlan, OutputChunk};
use crate::model::{Evaluation, InvalidInput};
use crate::queue::QueueError;

/// What this process wants of an evaluation beside its outcome.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SubmitOptions {
    /// Gets every piece of output without loss, if the evaluation runs in this process. While the channel is full the
    /// program waits, and its limits run on; a receiver that is dropped disturbs nothing.
    pub output: Option<mpsc::Sender<OutputChunk>>,
}

impl SubmitOptions {
    /// Nothing beside the outcome.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends every piece of output to this channel.
    #[must_use]
    pub fn with_output(mut self, output: mpsc::Sender<OutputChunk>) -> Self {
        self.output = Some(output);
        self
    }
}

impl Shared {
    /// Checks an evaluation without accepting it.
    pub(super) fn check(&self, evaluation: &Evaluation) -> Result<(), SubmitError> {
        let Some(engine) = self.engine(evaluation.engine.as_deref()) else {
            let known: Vec<_> = self.engines.iter().map(|engine| engine.name.as_str()).collect();
            let message = format!(
                "is {:?}; this host has {}",
                evaluation.engine.as_deref().unwrap_or_default(),
                known.join(", ")
            );
            return Err(InvalidInput::single("engine", message).into());
        };
        EvaluationPlan::new(evaluation, &self.languages)?;
        let info = engine.engine.info();
        info.admit(&evaluation.isolation, &evaluation.network)
            .and_then(|()| info.admit_image(evaluation.image.as_deref()))
            .map_err(|source| SubmitError::Refused { engine: engine.name.clone(), source })
    }

    /// Accepts an evaluation: on the storage first, then in the queue.
    pub(super) async fn submit(
        self: &Arc<Self>,
        evaluation: Evaluation,
        options: SubmitOptions,
    ) -> Result<Handle, SubmitError> {
        if self.stop.is_cancelled() {
            return Err(SubmitError::Closed);
        }
        self.check(&evaluation)?;
        // A queue that is full refuses before anything is stored. What fills up in between is refused below.
        let stats = self.queue.stats().await.map_err(SubmitError::Queue)?;
        if let (true, Some(capacity)) = (stats.is_full(), stats.capacity) {
            return Err(SubmitError::Queue(QueueError::Full { depth: stats.depth(), capacity }));
        }
        let evaluation = Arc::new(evaluation);
        // What is stored, queued and told is without the values of secrets, whichever backends there are.
        let stored = evaluation.without_secrets().map_or_else(|| Arc::clone(&evaluation), Arc::new);
        loop {
            if let Some(handle) = self.accept(&evaluation, &stored, options.output.clone()).await? {
                return Ok(handle);
            }
        }
    }
}
