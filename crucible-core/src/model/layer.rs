//! The layers that isolate a sandbox, what an evaluation requires of them, and what was in force.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! layers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One layer of isolation. An engine enforces it, or it was waived by name; never silently less.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Layer {
            $($(#[$doc])* $variant,)*
        }

        impl Layer {
            /// Every layer, in the order of the enumeration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name of the layer on the wire and in messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

layers! {
    /// Own user and group ids: inside root is nobody outside (user_namespaces(7)).
    UserNamespace = "user_namespace",
    /// No process of the host can be seen or signalled; when its first process ends, all end (pid_namespaces(7)).
    PidNamespace = "pid_namespace",
    /// A file system view of its own (mount_namespaces(7)).
    MountNamespace = "mount_namespace",
    /// A network stack with nothing in it (network_namespaces(7)).
    NetworkNamespace = "network_namespace",
    /// Own System V IPC objects and POSIX message queues (ipc_namespaces(7)).
    IpcNamespace = "ipc_namespace",
    /// A host name of its own (uts_namespaces(7)).
    UtsNamespace = "uts_namespace",
    /// The host's cgroup tree cannot be seen (cgroup_namespaces(7)).
    CgroupNamespace = "cgroup_namespace",
    /// A filter on system calls (seccomp(2)).
    Seccomp = "seccomp",
    /// Access rules on files, TCP ports and abstract sockets that hold whatever the mounts say (landlock(7)).
    Landlock = "landlock",
    /// No program started inside gains privileges (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    NoNewPrivileges = "no_new_privileges",
    /// The target has no capability at all (capabilities(7)).
    Capabilities = "capabilities",
    /// Memory of the whole tree is limited and counted by the kernel (cgroup `memory`).
    MemoryCgroup = "memory_cgroup",
    /// The number of processes and threads of the whole tree is limited and counted (cgroup `pids`).
    PidsCgroup = "pids_cgroup",
    /// CPU time of the whole tree is counted by the kernel (cgroup `cpuacct`, or `cpu.stat`).
    CpuCgroup = "cpu_cgroup",
    /// Limits for each process: open files, core dumps, priorities (setrlimit(2)).
    Rlimits = "rlimits",
    /// The target runs as a user whom no other sandbox, and nobody on the host, shares.
    DedicatedUser = "dedicated_user",
    /// The root file system cannot be written to.
    ReadOnlyRoot = "read_only_root",
    /// What can be written to is limited in bytes and in inodes.
    BoundedDisk = "bounded_disk",
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text does not name a [`Layer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a layer; layers are {}", names())]
pub struct ParseLayerError {
    text: String,
}

fn names() -> String {
    Layer::ALL.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Layer {
    type Err = ParseLayerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|layer| layer.name() == text)
            .ok_or_else(|| ParseLayerError { text: text.chars().take(64).collect() })
    }
}

/// The layers that an evaluation insists on. An engine that does not enforce one of them refuses the evaluation.
///
/// The default requires nothing beyond what the engine itself enforces: an engine refuses to start without its layers,
/// except those that the host waived by name. [`Isolation::full`] refuses even such an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Isolation(BTreeSet<Layer>);

impl Isolation {
    /// Requires these layers.
    #[must_use]
    pub fn require(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self(layers.into_iter().collect())
    }

    /// Requires every layer: no waiver is accepted.
    #[must_use]
    pub fn full() -> Self {
        Self::require(Layer::ALL.iter().copied())
    }

    /// The required layers.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_wire_form() {
        for layer in Layer::ALL {
            let json = serde_json::to_string(layer).unwrap();
            assert_eq!(json, format!("{:?}", layer.name()));
            assert_eq!(layer.name().parse::<Layer>().unwrap(), *layer);
        }
        assert_eq!(Layer::ALL.len(), 18);
        assert!("SECCOMP".parse::<Layer>().is_err());
    }

    #[test]
    fn full_isolation_requires_every_layer() {
        assert_eq!(Isolation::full().layers().count(), Layer::ALL.len());
        assert_eq!(Isolation::default().layers().count(), 0);
    }
}
