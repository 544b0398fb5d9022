//! What a sandbox holds of the host, and gives back when nothing of it lives any more.

use std::os::fd::OwnedFd;

use super::cgroup::Group;
use super::ids::IdPair;
use super::slot::Slot;

/// What a sandbox holds of the host.
#[derive(Debug)]
pub(super) struct Holdings {
    pub(super) ids: IdPair,
    /// `None` where every cgroup layer was waived.
    pub(super) group: Option<Group>,
    /// A namespace from the pool; `None` where it was made for this sandbox alone, or waived.
    pub(super) network: Option<OwnedFd>,
    /// The slot that it is in, if it is in one.
    pub(super) slot: Option<Slot>,
}
