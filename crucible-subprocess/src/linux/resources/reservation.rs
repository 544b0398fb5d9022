//! The resources of one sandbox.

use std::os::fd::OwnedFd;

use super::slot::Slot;
use super::user_ids::UserIdPair;
use crate::linux::cgroup::SandboxCgroup;

/// The resources of one sandbox, released once all its processes are dead.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) ids: UserIdPair,
    /// `None` if every cgroup layer was waived.
    pub(crate) group: Option<SandboxCgroup>,
    /// A pooled network namespace. `None` if the sandbox creates its own, or the layer was waived.
    pub(crate) network: Option<OwnedFd>,
    /// The slot of the sandbox, if it runs in one.
    pub(crate) slot: Option<Slot>,
}
