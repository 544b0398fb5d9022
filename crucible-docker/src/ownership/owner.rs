//! The owner of containers and the labels that record it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crucible_core::EvaluationId;

use super::local_host::{BOOT, LEASE, LocalHost, MACHINE, PROCESS};

/// The label of every container of every engine.
pub(crate) const OWNER: &str = "crucible.owner";
const ROLE: &str = "crucible.role";
const EVALUATION: &str = "crucible.evaluation";

/// The purpose of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerRole {
    /// A sandbox. While it runs, its owner is attached to it.
    Sandbox,
    /// The volume with the guest program for all sandboxes. It is never started.
    AgentVolume,
}

impl ContainerRole {
    /// Returns the value of the role label.
    fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::AgentVolume => "carrier",
        }
    }

    /// Returns for how long only the owner may remove a container that does not run. The times are
    /// far longer than an owner needs it. An owner creates a new agent volume when the old one is
    /// gone.
    fn lease(self) -> Duration {
        match self {
            Self::Sandbox => Duration::from_secs(10 * 60),
            Self::AgentVolume => Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// One engine of one process, which owns containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(super) id: String,
    /// The machine of the process. Empty if the system has no machine id.
    pub(super) machine: String,
    pub(super) boot: String,
    /// The process id, its start time, and its pid namespace.
    pub(super) process: String,
}

impl Owner {
    /// Creates an owner with a new id.
    pub(crate) fn new() -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (_, id) = id.split_at(id.len() - 12);
        let host = LocalHost::detect();
        let process = host.process(std::process::id()).unwrap_or_default();
        Self { id: id.to_owned(), machine: host.machine, boot: host.boot, process }
    }

    /// Returns the id of the owner.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the labels of a container.
    pub(crate) fn labels(
        &self,
        role: ContainerRole,
        evaluation: Option<EvaluationId>,
    ) -> HashMap<String, String> {
        let ends = SystemTime::now() + role.lease();
        let ends = ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut labels = HashMap::from(
            [
                (OWNER, self.id.clone()),
                (MACHINE, self.machine.clone()),
                (BOOT, self.boot.clone()),
                (PROCESS, self.process.clone()),
                (LEASE, ends.to_string()),
                (ROLE, role.name().to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Some(evaluation) = evaluation {
            labels.insert(EVALUATION.to_owned(), evaluation.to_string());
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_ids_are_unique() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| Owner::new().id).collect();
        assert_eq!(ids.len(), 1000);
    }
}
