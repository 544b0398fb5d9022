//! What a run used.

use std::time::Duration;

use crate::model::duration_us;
use serde::{Deserialize, Serialize};

/// What a run used. Present on every ending, a kill included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// From the start of the program to its end, by a monotonic clock.
    #[serde(rename = "wall_us", with = "duration_us")]
    pub wall: Duration,
    /// CPU time in user mode of the program and everything it started.
    #[serde(rename = "cpu_user_us", with = "duration_us")]
    pub cpu_user: Duration,
    /// CPU time in the kernel on behalf of the program and everything it started.
    #[serde(rename = "cpu_system_us", with = "duration_us")]
    pub cpu_system: Duration,
    /// The most memory that the whole tree held at once, in bytes; `None` (`null`) where the engine cannot tell. Where
    /// the memory cgroup was waived it is the greatest resident set of a single process.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes and threads of the program at once; `None` (`null`) where the engine cannot tell.
    pub processes_peak: Option<u64>,
    /// From being queued to being taken by a worker; zero for a run outside a platform.
    #[serde(rename = "queue_us", with = "duration_us")]
    pub queue: Duration,
    /// From being taken to the start of the program: making the sandbox, putting files, compiling.
    #[serde(rename = "setup_us", with = "duration_us")]
    pub setup: Duration,
}

impl Usage {
    /// CPU time in user mode and in the kernel together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu_user.saturating_add(self.cpu_system)
    }
}
