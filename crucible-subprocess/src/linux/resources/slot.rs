//! A slot: a process outside of every sandbox that keeps user, network and UTS namespaces, and
//! opens one sandbox after another in them.
//!
//! Each sandbox has its own pid, mount and IPC namespaces, files, processes and counters.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::sandbox_size::SandboxSize;
use crate::linux::channel::FrameReader;

/// Number of sandboxes before a slot is replaced. It bounds whatever state the kernel keeps in the
/// namespaces.
const RUNS_MAX: u32 = 1000;

/// A slot with an open sandbox.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The slot's process, which ends when the host closes its end of the channel.
    pidfd: OwnedFd,
    /// The reader of the slot's channel, while no sandbox reads from it.
    pub(crate) reader: FrameReader,
    pub(crate) size: SandboxSize,
    runs: u32,
    /// The tenant of the last sandbox, if slots are not shared between tenants.
    pub(crate) tenant: Option<String>,
}

impl Slot {
    /// Creates the handle of a slot that has opened no sandbox.
    pub(crate) fn new(pidfd: OwnedFd, reader: FrameReader, size: SandboxSize) -> Self {
        Self { pidfd, reader, size, runs: 0, tenant: None }
    }

    /// Counts a finished sandbox. Returns `false` if it was the last one of this slot.
    pub(crate) fn count_run(&mut self) -> bool {
        self.runs += 1;
        self.runs < RUNS_MAX
    }

    /// Returns the pidfd of the slot's process.
    pub(crate) fn process(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
