//! Enforcement reports: the layers that isolated a run.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Layer;

/// The status of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerStatus {
    /// The kernel (or its substitute) enforces the layer.
    Enforced,
    /// The host waived the layer by name. The layer is not in force.
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

/// One line of an [`Enforcement`]: a layer, its status and a detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The layer.
    pub layer: Layer,
    /// The status.
    pub status: LayerStatus,
    /// The observed or configured value: `2 filters`, `ABI 7`, `64 MiB, 4096 inodes`. For display
    /// only: the format may change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The layers that isolated a run, as observed, not only as requested. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Enforcement(Arc<Vec<LayerReport>>);

impl Enforcement {
    /// Creates an empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, or replaces the line of the same layer.
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

    /// Returns the status of a layer; [`LayerStatus::Absent`] if the report has no line for it.
    #[must_use]
    pub fn status(&self, layer: Layer) -> LayerStatus {
        self.0
            .iter()
            .find(|report| report.layer == layer)
            .map_or(LayerStatus::Absent, |report| report.status)
    }

    /// Returns `true` if the layer is in force.
    #[must_use]
    pub fn enforces(&self, layer: Layer) -> bool {
        self.status(layer) == LayerStatus::Enforced
    }

    /// Returns the lines.
    #[must_use]
    pub fn reports(&self) -> &[LayerReport] {
        &self.0
    }

    /// Returns the layers that the host waived.
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
    fn layer_has_one_line_and_unknown_is_absent() {
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
