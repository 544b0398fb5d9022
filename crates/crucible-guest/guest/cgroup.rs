//! What the cgroups of a container have counted, as they are seen from within.

use core::ffi::CStr;

use super::errno::retry;
use super::number::parse;
use super::sys::{self, O_CLOEXEC, O_RDONLY};
use crate::protocol::{CgroupCounts, Layers};

/// The cgroups of a container, where they are mounted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroup {
    V1,
    V2,
}

impl Cgroup {
    /// Where the counts of memory can be read.
    pub(crate) fn find() -> Option<Self> {
        if number_in(c"/sys/fs/cgroup/memory/memory.limit_in_bytes").is_some() {
            Some(Self::V1)
        } else if keyed(c"/sys/fs/cgroup/memory.events", b"oom_kill").is_some() {
            Some(Self::V2)
        } else {
            None
        }
    }

    pub(crate) fn layer(self) -> Layers {
        match self {
            Self::V1 => Layers::CGROUP_V1,
            Self::V2 => Layers::CGROUP_V2,
        }
    }

    pub(crate) fn count(self) -> CgroupCounts {
        match self {
            Self::V1 => CgroupCounts {
                oom_kills: keyed(c"/sys/fs/cgroup/memory/memory.oom_control", b"oom_kill"),
                // Memory and swap together are refused first where both have one limit; some kernels do not count them.
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
                // `oom`, not `max`: the latter also counts what reclaim could mend.
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

/// The number that a file has; `None` if there is none.
fn number_in(path: &CStr) -> Option<u64> {
    let mut buffer = [0; 64];
    parse(read(path, &mut buffer)?.trim_ascii())
}

/// The number after a word, in a file with a word and a number on each line.
fn keyed(path: &CStr, key: &[u8]) -> Option<u64> {
    let mut buffer = [0; 1024];
    read(path, &mut buffer)?
        .split(|byte| *byte == b'\n')
        .find_map(|line| parse(line.strip_prefix(key)?.strip_prefix(b" ")?))
}

fn read<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = sys::open(path, O_RDONLY | O_CLOEXEC, 0).ok()?;
    let count = retry(|| sys::read(file, buffer));
    sys::close(file);
    buffer.get(..count.ok()?)
}
