//! Evidence: the facts about a run, with their sources.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::verdict::{Ending, NotStartedReason, Verdict};
use crate::model::{Limit, Signal, duration_us};

/// The reason for a signal of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KillReason {
    /// The program reached the wall limit.
    Wall,
    /// The program reached the CPU limit.
    Cpu,
    /// The program reached the output limit.
    Output,
    /// The evaluation was cancelled, or the platform shuts down.
    Cancelled,
    /// The program had ended, and the engine ended its background processes.
    Leftover,
}

impl KillReason {
    /// Returns the limit that this reason enforces, if any.
    #[must_use]
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::Wall => Some(Limit::Wall),
            Self::Cpu => Some(Limit::Cpu),
            Self::Output => Some(Limit::Output),
            Self::Cancelled | Self::Leftover => None,
        }
    }
}

/// A fact about a run, with its source. [`judge`](crate::judge()) computes the verdict from these
/// facts alone.
///
/// An engine lists facts in the order in which it learnt them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The program's parent reaped it (wait4(2)).
    Waited {
        /// The program's ending, by itself or by a signal of the engine.
        ending: Ending,
        /// The time since the start of the program.
        #[serde(rename = "after_us", with = "duration_us")]
        after: Duration,
    },
    /// execve(2) failed, so the program never ran.
    ExecFailed {
        /// The meaning of the error.
        reason: NotStartedReason,
        /// The error number of execve(2).
        errno: i32,
    },
    /// The engine sent a signal. This entry of the kill log is written before the signal is sent.
    Killed {
        /// The signal.
        signal: Signal,
        /// The reason.
        reason: KillReason,
        /// The time since the start of the program.
        #[serde(rename = "after_us", with = "duration_us")]
        after: Duration,
    },
    /// The kernel killed a process of the sandbox because it ran out of memory.
    OomKilled {
        /// The number of killed processes, by the cgroup's counter.
        count: u64,
        /// The number of hits of the sandbox's own memory limit, by the cgroup's counter. Some
        /// kernels with cgroups of version 1 do not count. Then it is 0, and the peak decides.
        limit_hits: u64,
        /// The peak memory of the sandbox; `None` if the kernel does not report it.
        peak_bytes: Option<u64>,
        /// The memory limit.
        limit_bytes: u64,
    },
    /// The kernel refused to create a process because of the sandbox's process limit.
    ForkRefused {
        /// The number of refusals, by the cgroup's counter.
        count: u64,
    },
    /// The measured CPU time of the whole tree, over its limit.
    CpuTime {
        /// The time used.
        #[serde(rename = "used_us", with = "duration_us")]
        used: Duration,
        /// The limit.
        #[serde(rename = "limit_us", with = "duration_us")]
        limit: Duration,
    },
    /// The measured wall time of a program that ended by itself after its limit, before the engine
    /// could end it.
    ///
    /// An engine reports this only if its own measurement delay cannot be the reason.
    WallTime {
        /// The time used.
        #[serde(rename = "used_us", with = "duration_us")]
        used: Duration,
        /// The limit.
        #[serde(rename = "limit_us", with = "duration_us")]
        limit: Duration,
    },
    /// The measured output of the program, over its limit.
    OutputBytes {
        /// The bytes of both streams together.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file system of the sandbox was full (statfs(2)) after the program had ended.
    FileSystemFull {
        /// Free bytes.
        free_bytes: u64,
        /// Free inodes.
        free_inodes: u64,
    },
    /// The kernel reported a violation of the policy.
    Violation {
        /// The forbidden action.
        what: String,
    },
    /// The engine ended background processes before it created the outcome.
    Survivors {
        /// The number of processes.
        count: u64,
    },
    /// The engine could not confirm the end of all processes in time. A process can be in
    /// uninterruptible sleep.
    NotConfirmedDead,
    /// The compile step ended.
    Compiled {
        /// The verdict of the compiler.
        verdict: Verdict,
    },
    /// The evaluation was cancelled before its program started.
    CancelledBeforeStart,
}

impl Evidence {
    /// Returns `true` for an out-of-memory kill at the sandbox's own limit, as opposed to the
    /// *host's*.
    #[must_use]
    pub fn is_out_of_own_memory(&self) -> bool {
        match *self {
            Self::OomKilled { limit_hits, peak_bytes, limit_bytes, .. } => {
                limit_hits > 0
                    || peak_bytes
                        .is_some_and(|peak| peak.saturating_add(CHARGE_MARGIN) >= limit_bytes)
            }
            _ => false,
        }
    }
}

/// The distance below its limit at which a sandbox can run out of memory.
///
/// The kernel kills for allocations of at most eight pages (`PAGE_ALLOC_COSTLY_ORDER`), and each
/// CPU can reserve 64 pages (`MEMCG_CHARGE_BATCH`).
const CHARGE_MARGIN: u64 = 512 * 1024;
