//! The command that runs, and the report of its start.

use super::frame_batch::FrameBatch;
use super::sys::{self, Fd, Result};
use crate::protocol::{Confinement, FrameKind, OnExit, Started};

/// The maximum number of bytes of a status file (proc(5)) that are sent. A status file has about
/// 1.5 KiB.
pub(crate) const STATUS_MAX: usize = 4096;

/// A command that runs.
pub(crate) struct RunningCommand {
    pub(crate) pid: i32,
    pub(crate) id: u32,
    pub(crate) on_exit: OnExit,
    pub(crate) began_us: u64,
    /// The report of its start, until the guest has sent it.
    pub(crate) start: Option<PendingStart>,
    /// The guest's own deadline, at which it kills the command.
    pub(crate) deadline_us: Option<u64>,
    pub(crate) deadline_passed: bool,
    /// The guest's mount namespace. The host receives it when the guest ends with the command: the
    /// teardown of the mounts takes a while, and waits as long as a descriptor refers to them. If
    /// the guest cannot open it, the teardown is part of the guest's end.
    pub(crate) mounts: Option<Fd>,
}

/// The report of a command's start. It becomes part of the report of the end if the command ends
/// first.
pub(crate) struct PendingStart {
    /// The time at which the report is due.
    pub(crate) at_us: u64,
    pub(crate) confinement: Confinement,
    /// The command's status file, in the first `status_length` bytes.
    pub(crate) status: [u8; STATUS_MAX],
    pub(crate) status_length: usize,
}

impl RunningCommand {
    /// Returns the time at which the guest has to act: at the deadline, or when the report of the
    /// start is due.
    pub(crate) fn next_action_us(&self) -> Option<u64> {
        let deadline = if self.deadline_passed { None } else { self.deadline_us };
        let start = self.start.as_ref().map(|start| start.at_us);
        deadline.into_iter().chain(start).min()
    }

    /// Returns `true` at the first call after the deadline.
    pub(crate) fn expire(&mut self, now_us: u64) -> bool {
        let expires = !self.deadline_passed && self.deadline_us.is_some_and(|at| now_us >= at);
        self.deadline_passed |= expires;
        expires
    }

    /// Returns `true` if the report of the start is due.
    pub(crate) fn is_start_due(&self) -> bool {
        self.start.as_ref().is_some_and(|start| sys::now_us() >= start.at_us)
    }

    /// Adds the report of the start to a batch, unless it was sent before.
    pub(crate) fn add_start(&mut self, batch: &mut FrameBatch) -> Result<()> {
        let Some(start) = self.start.take() else { return Ok(()) };
        let started = Started {
            pid: self.pid.unsigned_abs(),
            ran_us: sys::now_us().saturating_sub(self.began_us),
            confinement: start.confinement,
            status: start.status.get(..start.status_length).unwrap_or_default(),
        };
        batch.add(FrameKind::Started, self.id, |writer| started.encode(writer))
    }
}
