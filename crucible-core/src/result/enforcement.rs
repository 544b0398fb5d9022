//! What isolated a run: asked for, and in force.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Layer;

/// Whether a layer is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerStatus {
    /// The kernel (or what stands in for one) enforces the layer.
    Enforced,
    /// The host gave the layer up by name; it is not in force.
    Waived,
    /// This engine has no such layer.
    Absent,
}

impl fmt::Display for LayerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforced => "enforced",
            Self::Waived => "waived",
            Self::Absent => "absent",
        })
    }
}

/// One line of an [`Enforcement`]: a layer, its status, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The layer.
    pub layer: Layer,
    /// Whether it is in force.
    pub status: LayerStatus,
    /// What was read back or set: `2 filters`, `ABI 7`, `64 MiB, 4096 inodes`. For people; it may change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What isolated a run, a line a layer: what was found in force, not merely asked for. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Enforcement(Arc<Vec<LayerReport>>);

impl Enforcement {
    /// A report without a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, or puts it in the place of an earlier one for the same layer.
    #[must_use]
    pub fn with(mut self, layer: Layer, status: LayerStatus, detail: impl Into<String>) -> Self {
        let line = LayerReport { layer, status, detail: detail.into() };
        let lines = Arc::make_mut(&mut self.0);
        match lines.iter_mut().find(|report| report.layer == layer) {
            Some(report) => *report = line,
            None => lines.push(line),
        }
        self
    }

    /// The status of a layer; [`LayerStatus::Absent`] where the report has no line for it.
    #[must_use]
    pub fn status(&self, layer: Layer) -> LayerStatus {
        self.0
            .iter()
            .find(|report| report.layer == layer)
            .map_or(LayerStatus::Absent, |report| report.status)
    }

    /// Whether the layer is in force.
    #[must_use]
    pub fn enforces(&self, layer: Layer) -> bool {
        self.status(layer) == LayerStatus::Enforced
    }

    /// The lines.
    #[must_use]
    pub fn reports(&self) -> &[LayerReport] {
        &self.0
    }

    /// The layers that the host waived.
    pub fn waived(&self) -> impl Iterator<Item = Layer> + '_ {
        self.0
            .iter()
            .filter(|report| report.status == LayerStatus::Waived)
            .map(|report| report.layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_one_line_and_an_unknown_one_is_absent() {
        let report = Enforcement::new().with(Layer::Seccomp, LayerStatus::Waived, "").with(
            Layer::Seccomp,
            LayerStatus::Enforced,
            "2 filters",
        );
        assert_eq!(report.reports().len(), 1);
        assert!(report.enforces(Layer::Seccomp));
        assert_eq!(report.status(Layer::Landlock), LayerStatus::Absent);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"[{"layer":"seccomp","status":"enforced","detail":"2 filters"}]"#
        );
    }
}
