//! The remaining parts of an ended sandbox.

use std::os::fd::OwnedFd;

use crate::linux::resources::Reservation;

/// The remaining parts of an ended sandbox.
#[derive(Debug)]
pub(crate) struct Remnants {
    pub(crate) reservation: Reservation,
    /// The guest's process id, if the spawner's report was read.
    pub(crate) guest: Option<u32>,
    /// The guest's pidfd, if the spawner's report was read.
    pub(crate) pidfd: Option<OwnedFd>,
    /// The channel with the spawner's report. `None` without a pidfd means that no guest exists.
    pub(crate) channel: Option<OwnedFd>,
    /// The descriptor that keeps the sandbox's mounts alive.
    pub(crate) mounts: Option<OwnedFd>,
}

impl Remnants {
    /// Returns the remnants of a sandbox that was never requested from the spawner.
    pub(crate) fn without_guest(reservation: Reservation) -> Self {
        Self { reservation, guest: None, pidfd: None, channel: None, mounts: None }
    }
}
