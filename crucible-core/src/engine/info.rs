//! The name, the layers and the features of an engine.

use super::deviation::Deviation;
use super::error::{EngineError, UnavailableMechanism};
use crate::model::{Isolation, Layer, Network};
use crate::result::{Enforcement, LayerStatus};

/// The name, the layers and the features of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The kind of engine: `subprocess`, `docker`. [`Outcome::engine`](crate::Outcome::engine) has
    /// the same value.
    pub name: String,
    /// The engine's layers, enforced or waived.
    pub enforcement: Enforcement,
    /// Whether the engine can enforce [`Network::Allow`].
    pub allow_lists: bool,
    /// Whether the engine runs images, see [`Evaluation::image`](crate::Evaluation::image).
    pub images: bool,
    /// The differences between the engine's sandboxes and Linux.
    pub deviations: Vec<Deviation>,
}

impl EngineInfo {
    /// Creates an info with a name and layers, without further features.
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

    /// Declares that the engine can enforce [`Network::Allow`].
    #[must_use]
    pub fn with_allow_lists(mut self) -> Self {
        self.allow_lists = true;
        self
    }

    /// Declares that the engine runs images.
    #[must_use]
    pub fn with_images(mut self) -> Self {
        self.images = true;
        self
    }

    /// Adds differences between the engine's sandboxes and Linux.
    #[must_use]
    pub fn with_deviations(mut self, deviations: impl IntoIterator<Item = Deviation>) -> Self {
        self.deviations.extend(deviations);
        self
    }

    /// Returns `true` if the engine's sandboxes have this deviation.
    #[must_use]
    pub fn differs(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    /// Checks that the engine can run in the requested image, if there is one. See also
    /// [`admit`](Self::admit).
    ///
    /// # Errors
    /// Returns [`EngineError::Unsupported`] if the engine does not run images.
    pub fn admit_image(&self, image: Option<&str>) -> Result<(), EngineError> {
        match image {
            Some(image) if !self.images => {
                let what = format!(
                    "images; the evaluation requests `{}`",
                    image.chars().take(64).collect::<String>()
                );
                Err(EngineError::Unsupported { engine: self.name.clone(), what })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the engine can enforce an isolation and a network policy.
    ///
    /// Engines call this first in [`Engine::open`](crate::Engine::open), and the platform calls it
    /// before it accepts an evaluation.
    ///
    /// # Errors
    /// [`EngineError::LayerUnavailable`] lists every required layer that is not in force.
    /// [`EngineError::Unsupported`] names another missing feature.
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
                "use an engine that enforces the layer, or do not require it",
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
