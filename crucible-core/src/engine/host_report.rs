//! The mechanisms that a host offers: the result of an engine's `doctor`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Layer;

/// A host's support for one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerProbe {
    /// The layer.
    pub layer: Layer,
    /// Whether an engine can enforce the layer on this host.
    pub available: bool,
    /// The result of the probe.
    pub detail: String,
    /// The fix, in the imperative. Empty if the layer is available.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// A property of the host other than a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostFact {
    /// The name of the property: `kernel`, `user`, `cgroups`, `swap`, `user namespaces`, …
    pub name: String,
    /// The value of the property.
    pub value: String,
}

/// The layers that a host supports, with a fix for each missing layer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostReport {
    /// The engine that made the report.
    pub engine: String,
    /// The host's properties: its kernel, its user, its cgroups.
    pub facts: Vec<HostFact>,
    /// The layers.
    pub layers: Vec<LayerProbe>,
}

impl HostReport {
    /// Creates an empty report of `engine`.
    #[must_use]
    pub fn new(engine: impl Into<String>) -> Self {
        Self { engine: engine.into(), ..Self::default() }
    }

    /// Adds a property of the host.
    #[must_use]
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push(HostFact { name: name.into(), value: value.into() });
        self
    }

    /// Returns the value of a property.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    }

    /// Adds an available layer.
    #[must_use]
    pub fn with_available(mut self, layer: Layer, detail: impl Into<String>) -> Self {
        self.layers.push(LayerProbe {
            layer,
            available: true,
            detail: detail.into(),
            fix: String::new(),
        });
        self
    }

    /// Adds a missing layer and its fix.
    #[must_use]
    pub fn with_missing(
        mut self,
        layer: Layer,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        self.layers.push(LayerProbe {
            layer,
            available: false,
            detail: detail.into(),
            fix: fix.into(),
        });
        self
    }

    /// Returns `true` if no layer is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.layers.iter().all(|probe| probe.available)
    }

    /// Returns the missing layers.
    pub fn missing(&self) -> impl Iterator<Item = &LayerProbe> {
        self.layers.iter().filter(|probe| !probe.available)
    }
}

impl fmt::Display for HostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "engine: {}", self.engine)?;
        for fact in &self.facts {
            writeln!(f, "{}: {}", fact.name, fact.value)?;
        }
        let width = self.layers.iter().map(|probe| probe.layer.name().len()).max().unwrap_or(0);
        for LayerProbe { layer, available, detail, fix } in &self.layers {
            let mark = if *available { "ok     " } else { "MISSING" };
            writeln!(f, "{mark}  {:width$}  {detail}", layer.name())?;
            if !fix.is_empty() {
                writeln!(f, "         {:width$}  fix: {fix}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_layer_prints_its_fix() {
        let report = HostReport::new("subprocess")
            .with_fact("kernel", "6.1")
            .with_available(Layer::Seccomp, "filters")
            .with_missing(Layer::PidsCgroup, "no `pids` controller", "mount it");
        assert!(!report.is_complete());
        assert_eq!(report.missing().count(), 1);
        assert_eq!((report.fact("kernel"), report.fact("user")), (Some("6.1"), None));
        let text = report.to_string();
        assert!(text.starts_with("engine: subprocess\nkernel: 6.1\n"), "{text}");
        assert!(text.contains("MISSING  pids_cgroup  no `pids` controller\n"), "{text}");
        assert!(text.contains("fix: mount it"), "{text}");
    }

    #[test]
    fn report_round_trips_through_json() {
        let report = HostReport::new("subprocess")
            .with_fact("swap", "none")
            .with_available(Layer::Landlock, "ABI 2")
            .with_missing(Layer::PidsCgroup, "no `pids` controller", "mount it");
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(
            text,
            r#"{"engine":"subprocess","facts":[{"name":"swap","value":"none"}],"layers":[{"layer":"landlock","available":true,"detail":"ABI 2"},{"layer":"pids_cgroup","available":false,"detail":"no `pids` controller","fix":"mount it"}]}"#
        );
        assert_eq!(serde_json::from_str::<HostReport>(&text).unwrap(), report);
    }
}
