//! The layers that isolate a sandbox, and the requirements of an evaluation.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! layers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A layer of isolation. An engine enforces it, or the host waives it by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Layer {
            $($(#[$doc])* $variant,)*
        }

        impl Layer {
            /// All layers, in the order of the enumeration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name of the layer on the wire and in messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

layers! {
    /// Separate user and group ids: root inside has no privileges outside (user_namespaces(7)).
    UserNamespace = "user_namespace",
    /// The host's processes are invisible. When the first process of the sandbox ends, all end
    /// (pid_namespaces(7)).
    PidNamespace = "pid_namespace",
    /// A separate view of the file system (mount_namespaces(7)).
    MountNamespace = "mount_namespace",
    /// An empty network stack (network_namespaces(7)).
    NetworkNamespace = "network_namespace",
    /// Separate System V IPC objects and POSIX message queues (ipc_namespaces(7)).
    IpcNamespace = "ipc_namespace",
    /// A separate host name (uts_namespaces(7)).
    UtsNamespace = "uts_namespace",
    /// The host's cgroup tree is invisible (cgroup_namespaces(7)).
    CgroupNamespace = "cgroup_namespace",
    /// A filter on system calls (seccomp(2)).
    Seccomp = "seccomp",
    /// Access rules on files, TCP ports and abstract sockets, independent of the mounts
    /// (landlock(7)).
    Landlock = "landlock",
    /// Programs cannot gain privileges (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    NoNewPrivileges = "no_new_privileges",
    /// The target has no capabilities (capabilities(7)).
    Capabilities = "capabilities",
    /// The kernel limits and counts the memory of the whole tree (cgroup `memory`).
    MemoryCgroup = "memory_cgroup",
    /// The kernel limits and counts the processes and threads of the whole tree (cgroup `pids`).
    PidsCgroup = "pids_cgroup",
    /// The kernel counts the CPU time of the whole tree (cgroup `cpuacct`, or `cpu.stat`).
    CpuCgroup = "cpu_cgroup",
    /// Limits for each process: open files, core dumps, priorities (setrlimit(2)).
    Rlimits = "rlimits",
    /// The target's user id is used by no other sandbox and by no process of the host.
    DedicatedUser = "dedicated_user",
    /// The root file system is read-only.
    ReadOnlyRoot = "read_only_root",
    /// The writable file systems have limits on bytes and inodes.
    BoundedDisk = "bounded_disk",
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error for a text that is not the name of a [`Layer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a layer; layers are {}", names())]
pub struct ParseLayerError {
    text: String,
}

/// Returns the names of all layers, joined by commas.
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

/// The layers that an evaluation requires. An engine that does not enforce all of them refuses the
/// evaluation.
///
/// The default requires no layer in addition to the engine's own. An engine refuses to start
/// without its layers, except for layers that the host waived by name. [`Isolation::full`] also
/// refuses waivers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Isolation(BTreeSet<Layer>);

impl Isolation {
    /// Requires these layers.
    #[must_use]
    pub fn require(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self(layers.into_iter().collect())
    }

    /// Requires all layers, so that the engine must have no waivers.
    #[must_use]
    pub fn full() -> Self {
        Self::require(Layer::ALL.iter().copied())
    }

    /// Returns the required layers.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_name_is_wire_form() {
        for layer in Layer::ALL {
            let json = serde_json::to_string(layer).unwrap();
            assert_eq!(json, format!("{:?}", layer.name()));
            assert_eq!(layer.name().parse::<Layer>().unwrap(), *layer);
        }
        assert_eq!(Layer::ALL.len(), 18);
        assert!("SECCOMP".parse::<Layer>().is_err());
    }

    #[test]
    fn full_isolation_requires_all_layers() {
        assert_eq!(Isolation::full().layers().count(), Layer::ALL.len());
        assert_eq!(Isolation::default().layers().count(), 0);
    }
}
