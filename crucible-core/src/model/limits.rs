//! Resource limits.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::time::duration_us;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A limit with a verdict: exceeding it is
/// [`Verdict::LimitExceeded`](crate::Verdict::LimitExceeded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// Wall-clock time.
    Wall,
    /// CPU time of the whole tree.
    Cpu,
    /// Memory of the whole tree.
    Memory,
    /// Concurrent processes and threads.
    Processes,
    /// Bytes written to standard output and standard error.
    Output,
    /// Bytes or inodes in the writable file systems.
    Disk,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wall => "wall",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Output => "output",
            Self::Disk => "disk",
        })
    }
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Wall, Self::Cpu, Self::Memory, Self::Processes, Self::Output, Self::Disk]
            .into_iter()
            .find(|limit| limit.to_string() == text)
            .ok_or_else(|| ParseLimitError { text: text.chars().take(32).collect() })
    }
}

/// An error for a text that is not the name of a [`Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a limit; limits are wall, cpu, memory, processes, output, disk")]
pub struct ParseLimitError {
    text: String,
}

/// The resource limits of one run. All limits are finite: zero and overflow are errors, and never
/// mean 'no limit'.
///
/// | limit | default | why this number |
/// | --- | --- | --- |
/// | `wall` | 10 s | enough for an interpreter on a busy machine; short for interactive callers |
/// | `cpu` | 5 s | half of `wall`: busy and sleeping programs get different verdicts |
/// | `memory_bytes` | 256 MiB | an interpreter with its usual libraries needs 10 to 150 MiB |
/// | `processes` | 64 | enough for a build tool; a fork bomb ends in milliseconds |
/// | `output_bytes` | 16 MiB | more than a person reads, less than a host's memory |
/// | `disk_bytes` | 64 MiB | a quarter of `memory_bytes`, which includes it |
/// | `inodes` | 4096 | a small source tree with its build products |
/// | `open_files` | 1024 | the soft limit that programs are tested with (getrlimit(2)) |
///
/// Deserialization refuses unknown fields, because a misspelt limit must not mean 'no limit'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Time on a monotonic clock, from the start of the program to its end.
    #[serde(rename = "wall_us", with = "duration_us")]
    pub wall: Duration,
    /// CPU time, user and system, of the program and all processes that it starts.
    #[serde(rename = "cpu_us", with = "duration_us")]
    pub cpu: Duration,
    /// Memory of the whole tree in bytes: anonymous pages, its page cache, its files in `/tmp` and
    /// `/box` (they are in memory), and kernel objects. Swap is disabled.
    pub memory_bytes: u64,
    /// Concurrent processes and threads, including the program itself.
    pub processes: u32,
    /// Bytes written to standard output and standard error together.
    /// [`Evaluation::capture_bytes`](crate::Evaluation::capture_bytes) sets the number of bytes to
    /// *keep*.
    pub output_bytes: u64,
    /// Bytes in all writable file systems together.
    pub disk_bytes: u64,
    /// Files, directories and links in all writable file systems together. Exceeding it has the
    /// verdict `disk`.
    pub inodes: u64,
    /// Open file descriptors of each process. Exceeding it is the error `EMFILE` in the program,
    /// without a verdict, because the kernel does not count refusals.
    pub open_files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(10),
            cpu: Duration::from_secs(5),
            memory_bytes: 256 * MIB,
            processes: 64,
            output_bytes: 16 * MIB,
            disk_bytes: 64 * MIB,
            inodes: 4096,
            open_files: 1024,
        }
    }
}

impl Limits {
    /// Returns the defaults listed at [`Limits`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the defaults of a compile step. Compilers need more resources than most programs.
    ///
    /// Wall 60 s, CPU 60 s, memory 1 GiB, 128 processes, output 4 MiB, disk 256 MiB, 16384 inodes.
    #[must_use]
    pub fn for_compiling() -> Self {
        Self {
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(60),
            memory_bytes: 1024 * MIB,
            processes: 128,
            output_bytes: 4 * MIB,
            disk_bytes: 256 * MIB,
            inodes: 16_384,
            open_files: 1024,
        }
    }

    /// Sets [`Limits::wall`].
    #[must_use]
    pub fn with_wall(mut self, wall: Duration) -> Self {
        self.wall = wall;
        self
    }

    /// Sets [`Limits::cpu`].
    #[must_use]
    pub fn with_cpu(mut self, cpu: Duration) -> Self {
        self.cpu = cpu;
        self
    }

    /// Sets [`Limits::memory_bytes`].
    #[must_use]
    pub fn with_memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`Limits::processes`].
    #[must_use]
    pub fn with_processes(mut self, processes: u32) -> Self {
        self.processes = processes;
        self
    }

    /// Sets [`Limits::output_bytes`].
    #[must_use]
    pub fn with_output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Sets [`Limits::disk_bytes`].
    #[must_use]
    pub fn with_disk_bytes(mut self, bytes: u64) -> Self {
        self.disk_bytes = bytes;
        self
    }

    /// Sets [`Limits::inodes`].
    #[must_use]
    pub fn with_inodes(mut self, inodes: u64) -> Self {
        self.inodes = inodes;
        self
    }

    /// Sets [`Limits::open_files`].
    #[must_use]
    pub fn with_open_files(mut self, files: u32) -> Self {
        self.open_files = files;
        self
    }

    /// Returns the problems of these limits. `field` is the prefix of each name.
    ///
    /// The lower bounds are the minimum for a working sandbox. The upper bounds are above the
    /// capacity of any machine and below the range of the kernel's counters.
    #[must_use]
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |name: &str, value: u64, least: u64, most: u64, unit: &str| {
            if value < least || value > most {
                let message =
                    format!("is {value}{unit}; it must be between {least}{unit} and {most}{unit}");
                problems.push(Problem::new(format!("{field}.{name}"), message));
            }
        };
        let us = crate::model::time::micros;
        check("wall_us", us(self.wall), 1000, us(30 * DAY), "");
        check("cpu_us", us(self.cpu), 1000, us(30 * DAY), "");
        check("memory_bytes", self.memory_bytes, 4 * MIB, 1 << 50, "");
        check("processes", u64::from(self.processes), 1, 4_000_000, "");
        check("output_bytes", self.output_bytes, 1, 1 << 50, "");
        check("disk_bytes", self.disk_bytes, 64 * KIB, 1 << 50, "");
        check("inodes", self.inodes, 16, 1 << 40, "");
        check("open_files", u64::from(self.open_files), 8, 1 << 20, "");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_limits_are_valid() {
        assert!(Limits::default().problems("limits").is_empty());
        assert!(Limits::for_compiling().problems("limits").is_empty());
    }

    #[test]
    fn zero_and_overflow_are_problems_in_all_fields() {
        let zero = Limits {
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_bytes: 0,
            processes: 0,
            output_bytes: 0,
            disk_bytes: 0,
            inodes: 0,
            open_files: 0,
        };
        let huge = Limits {
            wall: Duration::MAX,
            cpu: Duration::MAX,
            memory_bytes: u64::MAX,
            processes: u32::MAX,
            output_bytes: u64::MAX,
            disk_bytes: u64::MAX,
            inodes: u64::MAX,
            open_files: u32::MAX,
        };
        assert_eq!(zero.problems("limits").len(), 8);
        assert_eq!(huge.problems("limits").len(), 8);
        assert_eq!(zero.problems("limits")[0].field, "limits.wall_us");
    }

    #[test]
    fn absent_fields_default_and_unknown_fields_fail() {
        let limits: Limits =
            serde_json::from_str(r#"{"wall_us":5000000,"memory_bytes":134217728}"#).unwrap();
        assert_eq!(limits.wall, Duration::from_secs(5));
        assert_eq!(limits.memory_bytes, 128 * MIB);
        assert_eq!(limits.processes, Limits::default().processes);
        assert!(serde_json::from_str::<Limits>(r#"{"memory":1}"#).is_err());
        assert!(serde_json::from_str::<Limits>(r#"{"memory_bytes":-1}"#).is_err());
    }
}
