//! An engine's name, layers and features.

use super::deviation::Deviation;
use super::error::{EngineError, UnavailableMechanism};
use crate::model::{Isolation, Layer, Network};
use crate::result::{Enforcement, LayerStatus};

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
