//! The container runtime and its deviations.

use std::fmt;

use crucible_core::Deviation;

/// The container runtime, by its name in the daemon's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Runtime {
    /// The daemon's default, usually runc.
    #[default]
    Default,
    /// gVisor, a kernel in a user process, by its name in the daemon's configuration, such as
    /// `runsc`.
    Gvisor(String),
    /// Another runtime. The engine treats it like runc: a Linux kernel, with cgroups that are
    /// visible inside the container.
    Named(String),
}

impl Runtime {
    /// Returns the runtime with this name. A name that begins with `runsc` is gVisor's.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        if name.starts_with("runsc") { Self::Gvisor(name) } else { Self::Named(name) }
    }

    /// Returns the name in the daemon's configuration, or `None` for the daemon's default.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Gvisor(name) | Self::Named(name) => Some(name),
        }
    }

    /// Returns `true` if the host counts the runtime's own threads as processes of the container.
    pub(crate) fn counts_own_threads(&self) -> bool {
        matches!(self, Self::Gvisor(_))
    }

    /// Returns `true` for gVisor.
    pub(crate) fn is_gvisor(&self) -> bool {
        matches!(self, Self::Gvisor(_))
    }

    /// Returns the deviations of its containers from Linux.
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

    /// Returns the name of an engine with this runtime.
    pub(crate) fn engine_name(&self) -> &'static str {
        if self.is_gvisor() { "gvisor" } else { "docker" }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("the daemon's default runtime"))
    }
}
