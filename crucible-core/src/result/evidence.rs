//! What we know of a run, and how we know it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::verdict::{Ending, NotStartedReason, Verdict};
use crate::model::{Limit, Signal, duration_us};

/// Why we sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KillReason {
    /// The wall limit was reached.
    Wall,
    /// The CPU limit was reached.
    Cpu,
    /// The output limit was reached.
    Output,
    /// The evaluation was cancelled, or the platform is shutting down.
    Cancelled,
    /// The program had ended; what it left behind was ended too.
    Leftover,
}

impl KillReason {
    /// The limit that this reason enforces.
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

/// One fact about a run, with its source. The verdict is computed from these alone, see [`judge`](crate::judge()).
///
/// An engine lists facts in the order in which it learnt them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The program's parent reaped it (wait4(2)).
    Waited {
        /// How the program ended by itself, or by a signal of ours.
        ending: Ending,
        /// How long it had run.
        #[serde(rename = "after_us", with = "duration_us")]
        after: Duration,
    },
    /// execve(2) failed; the program never ran.
    ExecFailed {
        /// What the error means.
        reason: NotStartedReason,
        /// The error number of execve(2).
        errno: i32,
    },
    /// Our kill ledger: who was sent which signal, when and why. Written before the signal is sent.
    Killed {
        /// The signal.
        signal: Signal,
        /// Why.
        reason: KillReason,
        /// How long the program had run.
        #[serde(rename = "after_us", with = "duration_us")]
        after: Duration,
    },
    /// The kernel killed a process of the sandbox for lack of memory.
    OomKilled {
        /// How many processes were killed, by the cgroup's own counter.
        count: u64,
        /// How often the sandbox ran into its own memory limit, by the cgroup's own counter. Some kernels with cgroups
        /// of version 1 do not count; then it is 0, and the peak tells.
        limit_hits: u64,
        /// The most memory that the sandbox held; `None` where the kernel does not say.
        peak_bytes: Option<u64>,
        /// The memory limit.
        limit_bytes: u64,
    },
    /// The kernel refused to make a process because the sandbox had as many as it may.
    ForkRefused {
        /// How often, by the cgroup's own counter.
        count: u64,
    },
    /// CPU time of the whole tree when it was found over its limit.
    CpuTime {
        /// The time used.
        #[serde(rename = "used_us", with = "duration_us")]
        used: Duration,
        /// The limit.
        #[serde(rename = "limit_us", with = "duration_us")]
        limit: Duration,
    },
    /// Time by the clock until the program was found to have ended by itself, beyond its limit: we were too late to end
    /// it. An engine gives this only where its own delay in finding it cannot be the reason.
    WallTime {
        /// The time that it ran.
        #[serde(rename = "used_us", with = "duration_us")]
        used: Duration,
        /// The limit.
        #[serde(rename = "limit_us", with = "duration_us")]
        limit: Duration,
    },
    /// Bytes read from the program when they were found over the limit.
    OutputBytes {
        /// The bytes read, both streams together.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file system of the sandbox was found full (statfs(2)) when the program had ended.
    FileSystemFull {
        /// Free bytes.
        free_bytes: u64,
        /// Free inodes.
        free_inodes: u64,
    },
    /// The program did what the policy forbids, and the kernel says so.
    Violation {
        /// What it did.
        what: String,
    },
    /// Processes that the program left behind, ended before the outcome was made.
    Survivors {
        /// How many.
        count: u64,
    },
    /// Processes of the sandbox could not be confirmed dead in time (one may be in an uninterruptible sleep).
    NotConfirmedDead,
    /// The compile step ended.
    Compiled {
        /// What became of the compiler.
        verdict: Verdict,
    },
    /// The evaluation was cancelled before its program was started.
    CancelledBeforeStart,
}

impl Evidence {
    /// Whether this is an out-of-memory kill at the sandbox's own limit, and not because the *host* was out of memory.
    #[must_use]
    pub fn is_out_of_own_memory(&self) -> bool {
        match *self {
            Self::OomKilled { limit_hits, peak_bytes, limit_bytes, .. } => {
                limit_hits > 0
                    || peak_bytes
                        .is_some_and(|peak| peak.saturating_add(LAST_CHARGE) >= limit_bytes)
            }
            _ => false,
        }
    }
}

/// How far below its limit a sandbox can be when the kernel refuses it memory: the largest piece for which it kills
/// (`PAGE_ALLOC_COSTLY_ORDER`, eight pages), and what each CPU may hold back (`MEMCG_CHARGE_BATCH`, 64 pages).
const LAST_CHARGE: u64 = 512 * 1024;
