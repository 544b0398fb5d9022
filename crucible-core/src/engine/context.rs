//! The context of a run.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::output::OutputSink;
use crate::model::{EvaluationId, Languages};

/// The context of a run: languages, live output, cancellation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunContext {
    /// The languages that the host offers.
    pub languages: Arc<Languages>,
    /// The receiver of live output.
    pub output: OutputSink,
    /// Ends the run when cancelled.
    pub cancel: CancellationToken,
    /// The time that the evaluation waited in the queue: [`Usage::queue`](crate::Usage::queue).
    pub queued: Duration,
    /// The id of the evaluation, if it has one. An engine labels visible resources with it, such as
    /// containers.
    pub evaluation: Option<EvaluationId>,
}

impl Default for RunContext {
    fn default() -> Self {
        // Shared, because every run creates a context.
        static BUILTIN: LazyLock<Arc<Languages>> = LazyLock::new(Arc::default);
        Self {
            languages: Arc::clone(&BUILTIN),
            output: OutputSink::default(),
            cancel: CancellationToken::default(),
            queued: Duration::ZERO,
            evaluation: None,
        }
    }
}

impl RunContext {
    /// Creates a context with the built-in languages and without live output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the languages.
    #[must_use]
    pub fn with_languages(mut self, languages: Arc<Languages>) -> Self {
        self.languages = languages;
        self
    }

    /// Sets the receiver of live output.
    #[must_use]
    pub fn with_output(mut self, output: OutputSink) -> Self {
        self.output = output;
        self
    }

    /// Sets the token that ends the run when cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets the id of the evaluation.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: EvaluationId) -> Self {
        self.evaluation = Some(evaluation);
        self
    }

    /// Sets the time that the evaluation waited in the queue.
    #[must_use]
    pub fn with_queued(mut self, queued: Duration) -> Self {
        self.queued = queued;
        self
    }
}
