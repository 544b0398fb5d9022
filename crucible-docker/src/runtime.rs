//! Which runtime makes the containers, and what is different in it.

use std::fmt;

use crucible_core::Deviation;

/// What makes the containers, by the name that the daemon knows it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Runtime {
    /// The daemon's own choice: runc, as a rule.
    #[default]
    Default,
    /// gVisor, a kernel of its own in a process, under the name with which it was added to the daemon: `runsc`.
    Gvisor(String),
    /// Another one, which is taken to be like runc: a Linux kernel, with cgroups that can be seen from within.
    Named(String),
}

impl Runtime {
    /// The runtime that the daemon has under this name: a name that begins with `runsc` is gVisor's.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        if name.starts_with("runsc") { Self::Gvisor(name) } else { Self::Named(name) }
    }

    /// The name that the daemon knows it by; `None` for its own choice.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Gvisor(name) | Self::Named(name) => Some(name),
        }
    }

    /// Whether its own threads are processes of the container to the host.
    pub(crate) fn counts_own_threads(&self) -> bool {
        matches!(self, Self::Gvisor(_))
    }

    pub(crate) fn is_gvisor(&self) -> bool {
        matches!(self, Self::Gvisor(_))
    }

    /// What is otherwise in its containers than under Linux.
    pub(crate) fn deviations(&self) -> &'static [Deviation] {
        if self.is_gvisor() {
            &[
                Deviation::OutOfMemoryEndsAll,
                Deviation::LessInProc,
                Deviation::GuestIsSeen,
                Deviation::OwnKernel,
                Deviation::SlowCalls,
            ]
        } else {
            &[]
        }
    }

    /// The name of an engine that uses it.
    pub(crate) fn engine_name(&self) -> &'static str {
        if self.is_gvisor() { "gvisor" } else { "docker" }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("the daemon's default runtime"))
    }
}
