//! Resource usage.

use std::time::Duration;

use crate::model::duration_us;
use serde::{Deserialize, Serialize};

/// The resources that a run used. They are known for every ending, including kills.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// The time from the start of the program to its end, by a monotonic clock.
    #[serde(rename = "wall_us", with = "duration_us")]
    pub wall: Duration,
    /// CPU time in user mode of the program and all its descendants.
    #[serde(rename = "cpu_user_us", with = "duration_us")]
    pub cpu_user: Duration,
    /// CPU time in kernel mode of the program and all its descendants.
    #[serde(rename = "cpu_system_us", with = "duration_us")]
    pub cpu_system: Duration,
    /// The peak memory of the whole tree in bytes; `None` (`null`) if the engine cannot measure it.
    /// If the memory cgroup is waived, it is the largest resident set of a single process.
    pub memory_peak_bytes: Option<u64>,
    /// The peak number of processes and threads; `None` (`null`) if the engine cannot measure it.
    pub processes_peak: Option<u64>,
    /// The time from being queued to the claim by a worker; zero for a run outside a platform.
    #[serde(rename = "queue_us", with = "duration_us")]
    pub queue: Duration,
    /// The time from the claim to the start of the program: creating the sandbox, writing files,
    /// compiling.
    #[serde(rename = "setup_us", with = "duration_us")]
    pub setup: Duration,
}

impl Usage {
    /// Returns the CPU time in user mode and in kernel mode together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu_user.saturating_add(self.cpu_system)
    }
}
