//! The facts about a command that has ended.

use std::time::Duration;

use bytes::Bytes;
use crucible_guest::protocol::{CgroupCounts, Confinement, Exited, Failure};

use crate::cgroup_counters::CgroupCounters;
use crate::kill_log::KillLog;

/// The end of a command, as the guest reported it.
#[derive(Debug, Default)]
pub struct CommandEnd {
    /// The command's status file right after execve(2). Empty if the host did not ask for it.
    pub status: Option<Bytes>,
    /// The kernel's report about the command immediately before execve(2).
    pub confinement: Option<Confinement>,
    /// The failure, if the kernel did not execute the command.
    pub exec_failed: Option<Failure>,
    /// The exit report.
    pub exited: Option<Exited>,
    /// The cgroup counters right before the exit report, where the guest sees its cgroup.
    pub counted: Option<CgroupCounts>,
    /// The number of processes that the command left behind. The guest ended them.
    pub survivors: u64,
    /// The death of a process could not be confirmed.
    pub unconfirmed: bool,
    /// The guest is gone.
    pub gone: bool,
    /// The time from the request to the start of the command.
    pub setup: Duration,
}

impl CommandEnd {
    /// Returns the cgroup counters that the guest reported.
    #[must_use]
    pub fn counters(&self) -> Option<CgroupCounters> {
        self.counted.map(CgroupCounters::from)
    }

    /// Returns `true` if the command has ended, every kill is confirmed, and the guest is still
    /// there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.exited.is_some() && !self.unconfirmed && !self.gone
    }
}

/// The run of one command: its end and the host's kills.
#[derive(Debug, Default)]
pub struct CommandRun {
    /// The kills by the host.
    pub kill_log: KillLog,
    /// The end of the command.
    pub end: CommandEnd,
    /// Both output streams had ended before the supervision did.
    pub output_ended: bool,
}

impl CommandRun {
    /// Returns `true` if the guest disappeared before the command ended, without a kill by the
    /// host.
    #[must_use]
    pub fn guest_was_lost(&self) -> bool {
        self.end.gone && self.end.exited.is_none() && !self.kill_log.has_killed()
    }
}
