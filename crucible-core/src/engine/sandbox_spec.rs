//! The properties of a sandbox to open.

use super::plan::PlannedFile;
use crate::model::{EvaluationId, Isolation, Limits, Network};

/// What a sandbox is to be like.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SandboxSpec {
    /// How much everything in it may use. Wall, CPU and output are for each command; memory, processes, disk and
    /// inodes for the sandbox as a whole.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
    /// Which layers it must have.
    pub isolation: Isolation,
    /// Files to put before the first command.
    pub files: Vec<PlannedFile>,
    /// The image whose files it has, for an engine that runs images. `None` is what the engine has for the language.
    pub image: Option<String>,
    /// The name of the language that is run in it, if it is one.
    pub language: Option<String>,
    /// The evaluation that it is for, where that has an id.
    pub evaluation: Option<EvaluationId>,
}

impl SandboxSpec {
    /// A sandbox with default limits, no network and no files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what it may reach.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets which layers it must have.
    #[must_use]
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the files to put before the first command.
    #[must_use]
    pub fn with_files(mut self, files: Vec<PlannedFile>) -> Self {
        self.files = files;
        self
    }

    /// Sets the image whose files it has.
    #[must_use]
    pub fn with_image(mut self, image: Option<String>) -> Self {
        self.image = image;
        self
    }

    /// Says which language is run in it.
    #[must_use]
    pub fn with_language(mut self, language: Option<String>) -> Self {
        self.language = language;
        self
    }

    /// Says which evaluation it is for.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: Option<EvaluationId>) -> Self {
        self.evaluation = evaluation;
        self
    }
}
