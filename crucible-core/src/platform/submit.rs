//! The checks before an evaluation is accepted.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::SubmitError;
use super::handle::Handle;
use super::platform::Platform;
use super::submission::Submission;
use crate::engine::{EvaluationPlan, OutputChunk};
use crate::model::{Evaluation, InvalidInput};
use crate::queue::QueueError;

/// Options of a submission.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SubmitOptions {
    /// The channel for live output, without loss, if the evaluation runs in this process.
    ///
    /// While the channel is full, the program waits and its limits still count. If the caller drops
    /// the receiver, the run goes on.
    pub output: Option<mpsc::Sender<OutputChunk>>,
}

impl SubmitOptions {
    /// Creates options that request only the outcome.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends live output to this channel.
    #[must_use]
    pub fn with_output(mut self, output: mpsc::Sender<OutputChunk>) -> Self {
        self.output = Some(output);
        self
    }
}

/// Checks an evaluation without accepting it.
pub(super) fn check(platform: &Platform, evaluation: &Evaluation) -> Result<(), SubmitError> {
    let Some(engine) = platform.engine(evaluation.engine.as_deref()) else {
        let known: Vec<_> = platform.engines.iter().map(|engine| engine.name.as_str()).collect();
        let requested = evaluation.engine.as_deref().unwrap_or_default();
        let message = format!("is {requested:?}; this host has {}", known.join(", "));
        return Err(InvalidInput::single("engine", message).into());
    };
    EvaluationPlan::new(evaluation, &platform.languages)?;
    let info = engine.engine.info();
    info.admit(&evaluation.isolation, &evaluation.network)
        .and_then(|()| info.admit_image(evaluation.image.as_deref()))
        .map_err(|source| SubmitError::Refused { engine: engine.name.clone(), source })
}

/// Checks an evaluation, stores it and enqueues its ticket.
pub(super) async fn submit(
    platform: &Arc<Platform>,
    evaluation: Evaluation,
    options: SubmitOptions,
) -> Result<Handle, SubmitError> {
    if platform.stop.is_cancelled() {
        return Err(SubmitError::Closed);
    }
    check(platform, &evaluation)?;
    // A full queue refuses the evaluation before it is stored. A queue that fills up between this
    // check and `enqueue` refuses it later.
    let stats = platform.queue.stats().await.map_err(SubmitError::Queue)?;
    if let (true, Some(capacity)) = (stats.is_full(), stats.capacity) {
        return Err(SubmitError::Queue(QueueError::Full { depth: stats.depth(), capacity }));
    }
    Submission::new(Arc::clone(platform), evaluation, options.output).accept().await
}
