//! A sandbox that is opened before a caller requests it.

use std::os::fd::{AsFd as _, OwnedFd};

use crucible_core::{EngineError, Network};

use crate::linux::cgroup::SandboxCgroup;
use crate::linux::channel::socket_pair;
use crate::linux::resources::{Reservation, ResourceAllocator, SandboxSize};
use crate::linux::sys;
use crate::linux::teardown::Remnants;

/// A sandbox that is ready or starting, and in which no program has run.
///
/// It is used once, so that no program finds data of another one in it.
#[derive(Debug)]
pub(crate) struct ReadySandbox {
    pub(crate) reservation: Reservation,
    /// The host's end of the guest's channel. No byte has been read from it.
    pub(crate) channel: OwnedFd,
}

impl ReadySandbox {
    /// Requests a sandbox from the spawner. Adds the remnants of a failed attempt to `remnants`.
    pub(super) fn open(
        allocator: &ResourceAllocator,
        size: SandboxSize,
        remnants: &mut Vec<Remnants>,
    ) -> Result<Self, EngineError> {
        let (ours, theirs) = socket_pair()?;
        let reservation = allocator.reserve(size, &Network::None)?;
        let plan = allocator.plan(&reservation, size, &Network::None, true);
        if let Err(error) = allocator.spawn(&plan, &reservation, theirs.as_fd()) {
            remnants.push(Remnants::without_guest(reservation));
            return Err(error.into_error("opening a sandbox"));
        }
        let sandbox = Self { reservation, channel: ours };
        sandbox.open_counters();
        Ok(sandbox)
    }

    /// Opens the counters of the sandbox's cgroup ahead of time.
    pub(super) fn open_counters(&self) {
        // After a failure the next read tries again, and reports the error.
        let _opened = self.reservation.group.as_ref().map(SandboxCgroup::open_counters);
    }

    /// Returns `true` if the guest is alive, without an exchange with it.
    pub(super) fn is_alive(&self) -> bool {
        // The end of a guest closes its end of the channel.
        matches!(sys::has_hung_up(self.channel.as_fd()), Ok(false))
    }

    /// Returns the remnants of an unused sandbox.
    pub(super) fn into_remnants(self) -> Remnants {
        let Self { reservation, channel } = self;
        Remnants { reservation, guest: None, pidfd: None, channel: Some(channel), mounts: None }
    }
}
