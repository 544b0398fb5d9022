//! The properties of a sandbox to open.

use super::plan::PlannedFile;
use crate::model::{EvaluationId, Isolation, Limits, Network};

/// The properties of a sandbox to open.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SandboxSpec {
    /// The limits. Wall, CPU and output apply to each command. Memory, processes, disk and inodes
    /// apply to the sandbox as a whole.
    pub limits: Limits,
    /// The network policy.
    pub network: Network,
    /// The required layers.
    pub isolation: Isolation,
    /// The files to write before the first command.
    pub files: Vec<PlannedFile>,
    /// The image of the root file system, for an engine that runs images. `None` selects the
    /// engine's image for the language.
    pub image: Option<String>,
    /// The name of the language that runs in the sandbox, if any.
    pub language: Option<String>,
    /// The id of the evaluation that runs in the sandbox, if it has one.
    pub evaluation: Option<EvaluationId>,
}

impl SandboxSpec {
    /// Creates a spec with default limits, no network and no files.
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

    /// Sets the network policy.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets the required layers.
    #[must_use]
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the files to write before the first command.
    #[must_use]
    pub fn with_files(mut self, files: Vec<PlannedFile>) -> Self {
        self.files = files;
        self
    }

    /// Sets the image of the root file system.
    #[must_use]
    pub fn with_image(mut self, image: Option<String>) -> Self {
        self.image = image;
        self
    }

    /// Sets the language that runs in the sandbox.
    #[must_use]
    pub fn with_language(mut self, language: Option<String>) -> Self {
        self.language = language;
        self
    }

    /// Sets the evaluation that runs in the sandbox.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: Option<EvaluationId>) -> Self {
        self.evaluation = evaluation;
        self
    }
}
