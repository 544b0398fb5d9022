//! An engine: what makes sandboxes.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::engine::deviation::Deviation;
use crate::engine::error::{EngineError, UnavailableMechanism};
use crate::engine::output::OutputSink;
use crate::engine::run::run_in_sandboxes;
use crate::engine::sandbox::{Sandbox, SandboxSpec};
use crate::model::evaluation::Evaluation;
use crate::model::id::EvaluationId;
use crate::model::language::Languages;
use crate::model::layer::{Isolation, Layer};
use crate::model::network::Network;
use crate::result::enforcement::{Enforcement, LayerStatus};
use crate::result::outcome::Outcome;

/// What an engine is and what it enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The kind of engine: `subprocess`, `docker`. It is [`Outcome::engine`].
    pub name: String,
    /// Its layers, enforced or waived.
    pub enforcement: Enforcement,
    /// Whether it can enforce [`Network::Allow`].
    pub allow_lists: bool,
    /// Whether it runs images: [`Evaluation::image`].
    pub images: bool,
    /// What is otherwise in its sandboxes than under Linux.
    pub deviations: Vec<Deviation>,
}

impl EngineInfo {
    /// An engine with this name and these layers, which cannot enforce an allow-list.
    #[must_use]
    pub fn new(name: impl Into<String>, enforcement: Enforcement) -> Self {
        Self {
            name: name.into(),
            enforcement,
            allow_lists: false,
            images: false,
            deviations: Vec::new(),
        }
    }

    /// Says that the engine can enforce [`Network::Allow`].
    #[must_use]
    pub fn with_allow_lists(mut self) -> Self {
        self.allow_lists = true;
        self
    }

    /// Says that the engine runs images.
    #[must_use]
    pub fn with_images(mut self) -> Self {
        self.images = true;
        self
    }

    /// Says what is otherwise in its sandboxes than under Linux.
    #[must_use]
    pub fn with_deviations(mut self, deviations: impl IntoIterator<Item = Deviation>) -> Self {
        self.deviations.extend(deviations);
        self
    }

    /// Whether this is otherwise in its sandboxes.
    #[must_use]
    pub fn differs(&self, difference: Deviation) -> bool {
        self.deviations.contains(&difference)
    }

    /// Whether the engine can run in the image that is asked for, if one is. Like [`admit`](Self::admit).
    ///
    /// # Errors
    /// [`EngineError::Unsupported`]
    pub fn admit_image(&self, image: Option<&str>) -> Result<(), EngineError> {
        match image {
            Some(image) if !self.images => {
                let what = format!(
                    "images, and `{}` was asked for",
                    image.chars().take(64).collect::<String>()
                );
                Err(EngineError::Unsupported { engine: self.name.clone(), what })
            }
            _ => Ok(()),
        }
    }

    /// Whether the engine can enforce what is asked for. Engines call this first in [`Engine::open`], and the platform
    /// before it accepts an evaluation.
    ///
    /// # Errors
    /// [`EngineError::LayerUnavailable`] names every layer that is not in force,
    /// [`EngineError::Unsupported`] what else the engine cannot do.
    pub fn admit(&self, isolation: &Isolation, network: &Network) -> Result<(), EngineError> {
        let mut missing = Vec::new();
        for layer in isolation.layers() {
            let reason = match self.enforcement.status(layer) {
                LayerStatus::Enforced => continue,
                LayerStatus::Waived => format!("the host waived it for engine `{}`", self.name),
                LayerStatus::Absent => format!("engine `{}` has no such layer", self.name),
            };
            missing.push(UnavailableMechanism::new(
                layer,
                reason,
                "use an engine that enforces it, or do not require it",
            ));
        }
        if !missing.is_empty() {
            return Err(EngineError::LayerUnavailable { missing });
        }
        match network {
            Network::Allow(_) if !self.allow_lists => {
                let waived = [Layer::NetworkNamespace, Layer::Seccomp];
                let waived = waived
                    .into_iter()
                    .filter(|l| self.enforcement.status(*l) == LayerStatus::Waived);
                let waived =
                    waived.map(|layer| format!("`{layer}`")).collect::<Vec<_>>().join(", ");
                let why =
                    if waived.is_empty() { waived } else { format!(" (the host waived {waived})") };
                let what = format!("a network allow-list{why}");
                Err(EngineError::Unsupported { engine: self.name.clone(), what })
            }
            Network::None | Network::Allow(_) => Ok(()),
        }
    }
}

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

/// Makes sandboxes. Long-lived and shared.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// What the engine is and what it enforces.
    ///
    /// # Behavior
    /// - The same for the whole life of the engine.
    /// - A waived layer has a line of its own.
    fn info(&self) -> EngineInfo;

    /// Opens a sandbox.
    ///
    /// # Behavior
    /// - A layer, limit or network policy that the engine cannot enforce is refused; nothing is skipped.
    /// - The files of the spec are in place when this returns.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. The program has not started.
    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError>;

    /// Runs an evaluation to its outcome: open, put files, compile, execute, collect, close.
    ///
    /// # Behavior
    /// - The verdict is [`judge`](crate::judge()) of the evidence.
    /// - When this returns, nothing of the run is left: no process, no file, no mount.
    /// - Cancelled, it ends in `Cancelled` or in the true verdict.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run in the background and leaves nothing behind.
    ///
    /// # Errors
    /// See [`EngineError`]. Whatever the program does is an [`Outcome`].
    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        run_in_sandboxes(self, evaluation, context).await
    }

    /// Whether the engine can run something now.
    ///
    /// # Behavior
    /// - It asks what the engine stands on; it does not run a program.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// What stands in the way.
    async fn health(&self) -> Result<(), EngineError>;
}
