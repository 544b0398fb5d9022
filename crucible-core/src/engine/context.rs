//! The surroundings of a run: languages, live output, cancellation.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::output::OutputSink;
use crate::model::{EvaluationId, Languages};

/// What surrounds a run: languages, live output, cancellation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunContext {
    /// The languages that the host offers.
    pub languages: Arc<Languages>,
    /// Where output goes while it comes.
    pub output: OutputSink,
    /// Ends the run when cancelled.
    pub cancel: CancellationToken,
    /// How long the evaluation had waited to be taken: [`Usage::queue`](crate::Usage::queue).
    pub queued: Duration,
    /// Which evaluation it is, where it has an id: for what an engine makes that others can see, such as the labels of a container.
    pub evaluation: Option<EvaluationId>,
}

impl Default for RunContext {
    fn default() -> Self {
        // Made once: contexts are made for every run.
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
    /// The built-in languages, no live output, never cancelled.
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

    /// Sets where output goes while it comes.
    #[must_use]
    pub fn with_output(mut self, output: OutputSink) -> Self {
        self.output = output;
        self
    }

    /// Sets what ends the run when cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Says which evaluation it is.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: EvaluationId) -> Self {
        self.evaluation = Some(evaluation);
        self
    }

    /// Sets how long the evaluation had waited.
    #[must_use]
    pub fn with_queued(mut self, queued: Duration) -> Self {
        self.queued = queued;
        self
    }
}
