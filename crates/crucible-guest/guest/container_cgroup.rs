//! The counters of a container's cgroups, read from inside.

use core::ffi::CStr;

use super::decimal::parse;
use super::sys::{self, O_CLOEXEC, O_RDONLY, retry};
use crate::protocol::{CgroupCounts, Layers};

/// The cgroup version whose files are mounted in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerCgroup {
    V1,
    V2,
}

impl ContainerCgroup {
    /// Returns the version whose memory counters are readable.
    pub(crate) fn detect() -> Option<Self> {
        if number_in(c"/sys/fs/cgroup/memory/memory.limit_in_bytes").is_some() {
            Some(Self::V1)
        } else if keyed(c"/sys/fs/cgroup/memory.events", b"oom_kill").is_some() {
            Some(Self::V2)
        } else {
            None
        }
    }

    /// Returns the layer that reports this version to the host.
    pub(crate) fn layer(self) -> Layers {
        match self {
            Self::V1 => Layers::CGROUP_V1,
            Self::V2 => Layers::CGROUP_V2,
        }
    }

    /// Reads all counters and limits.
    pub(crate) fn read(self) -> CgroupCounts {
        match self {
            Self::V1 => CgroupCounts {
                oom_kills: keyed(c"/sys/fs/cgroup/memory/memory.oom_control", b"oom_kill"),
                // If memory and memory with swap have the same limit, the kernel checks the latter
                // first. Some kernels do not count those failures.
                memory_limit_hits: number_in(c"/sys/fs/cgroup/memory/memory.failcnt").map(
                    |alone| {
                        let both = number_in(c"/sys/fs/cgroup/memory/memory.memsw.failcnt");
                        alone.saturating_add(both.unwrap_or(0))
                    },
                ),
                forks_refused: keyed(c"/sys/fs/cgroup/pids/pids.events", b"max"),
                memory_peak_bytes: number_in(c"/sys/fs/cgroup/memory/memory.max_usage_in_bytes"),
                processes_peak: number_in(c"/sys/fs/cgroup/pids/pids.peak"),
                cpu_us: number_in(c"/sys/fs/cgroup/cpuacct/cpuacct.usage").map(|ns| ns / 1000),
                memory_limit_bytes: number_in(c"/sys/fs/cgroup/memory/memory.limit_in_bytes"),
                processes_limit: number_in(c"/sys/fs/cgroup/pids/pids.max"),
            },
            Self::V2 => CgroupCounts {
                oom_kills: keyed(c"/sys/fs/cgroup/memory.events", b"oom_kill"),
                // `oom` and not `max`: `max` includes the cases in which reclaim freed enough
                // memory.
                memory_limit_hits: keyed(c"/sys/fs/cgroup/memory.events", b"oom"),
                forks_refused: keyed(c"/sys/fs/cgroup/pids.events", b"max"),
                memory_peak_bytes: number_in(c"/sys/fs/cgroup/memory.peak"),
                processes_peak: number_in(c"/sys/fs/cgroup/pids.peak"),
                cpu_us: keyed(c"/sys/fs/cgroup/cpu.stat", b"usage_usec"),
                memory_limit_bytes: number_in(c"/sys/fs/cgroup/memory.max"),
                processes_limit: number_in(c"/sys/fs/cgroup/pids.max"),
            },
        }
    }
}

/// Returns the number that a file contains; `None` if it contains none.
fn number_in(path: &CStr) -> Option<u64> {
    let mut buffer = [0; 64];
    parse(read_file(path, &mut buffer)?.trim_ascii())
}

/// Returns the number that follows `key` in a file with a key and a number on each line.
fn keyed(path: &CStr, key: &[u8]) -> Option<u64> {
    let mut buffer = [0; 1024];
    read_file(path, &mut buffer)?
        .split(|byte| *byte == b'\n')
        .find_map(|line| parse(line.strip_prefix(key)?.strip_prefix(b" ")?))
}

fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = sys::open(path, O_RDONLY | O_CLOEXEC, 0).ok()?;
    let count = retry(|| sys::read(file, buffer));
    sys::close(file);
    buffer.get(..count.ok()?)
}
