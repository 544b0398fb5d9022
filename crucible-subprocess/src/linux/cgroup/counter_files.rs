//! The kernel's counters of one sandbox's groups.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crucible_guest_client::CgroupCounters;

use super::cgroup_root::CgroupVersion;
use super::control_files::CounterFile;

/// A group's directory in the hierarchy of one controller.
#[derive(Debug, Clone)]
pub(super) struct ControllerDirectory {
    pub(super) version: CgroupVersion,
    pub(super) path: PathBuf,
}

/// The opened files of the kernel's counters.
#[derive(Debug)]
pub(super) struct CounterFiles {
    cpu: Option<(CgroupVersion, CounterFile)>,
    memory: Option<MemoryFiles>,
    pids: Option<PidsFiles>,
}

#[derive(Debug)]
enum MemoryFiles {
    V1 {
        directory: PathBuf,
        control: CounterFile,
        usage: CounterFile,
        peak: CounterFile,
    },
    V2 {
        events: CounterFile,
        /// `None` on kernels before 5.19.
        peak: Option<CounterFile>,
    },
}

#[derive(Debug)]
struct PidsFiles {
    current: CounterFile,
    events: CounterFile,
    /// `None` on kernels before 6.10.
    peak: Option<CounterFile>,
}

impl MemoryFiles {
    fn open(ControllerDirectory { version, path }: &ControllerDirectory) -> io::Result<Self> {
        match version {
            CgroupVersion::V1 => Ok(Self::V1 {
                directory: path.clone(),
                control: CounterFile::open(path, "memory.oom_control")?,
                usage: CounterFile::open(path, "memory.usage_in_bytes")?,
                peak: CounterFile::open_to_reset(path, "memory.max_usage_in_bytes")?,
            }),
            CgroupVersion::V2 => Ok(Self::V2 {
                events: CounterFile::open(path, "memory.events")?,
                peak: CounterFile::open_optional(path, "memory.peak")?,
            }),
        }
    }

    fn read_into(&self, counters: &mut CgroupCounters) -> io::Result<()> {
        match self {
            Self::V1 { directory, control, peak, .. } => {
                counters.oom_kills = control.keyed("oom_kill")?;
                counters.memory_peak_bytes = Some(peak.number()?);
                if counters.oom_kills > Some(0) {
                    counters.memory_limit_hits = Some(refused_charges(directory)?);
                }
            }
            Self::V2 { events, peak } => {
                counters.oom_kills = events.keyed("oom_kill")?;
                // `oom` and not `max`: the latter also counts charges that reclaim satisfied.
                counters.memory_limit_hits = events.keyed("oom")?;
                counters.memory_peak_bytes = peak.as_ref().map(CounterFile::number).transpose()?;
            }
        }
        Ok(())
    }
}

impl PidsFiles {
    fn open(ControllerDirectory { path, .. }: &ControllerDirectory) -> io::Result<Self> {
        let current = CounterFile::open(path, "pids.current")?;
        let events = CounterFile::open(path, "pids.events")?;
        Ok(Self { current, events, peak: CounterFile::open_optional(path, "pids.peak")? })
    }
}

impl CounterFiles {
    /// Opens the counters of the controllers that the group has.
    pub(super) fn open(
        memory: Option<&ControllerDirectory>,
        pids: Option<&ControllerDirectory>,
        cpu: Option<&ControllerDirectory>,
    ) -> io::Result<Self> {
        let cpu = match cpu {
            None => None,
            Some(ControllerDirectory { version, path }) => {
                let name = if *version == CgroupVersion::V1 { "cpuacct.usage" } else { "cpu.stat" };
                Some((*version, CounterFile::open(path, name)?))
            }
        };
        let memory = memory.map(MemoryFiles::open).transpose()?;
        let pids = pids.map(PidsFiles::open).transpose()?;
        Ok(Self { cpu, memory, pids })
    }

    /// Resets the memory peak. Returns `false` if more than `left_over_bytes` are still in use.
    pub(super) fn reset_memory(&mut self, left_over_bytes: u64) -> io::Result<bool> {
        match &self.memory {
            Some(MemoryFiles::V1 { usage, .. }) if usage.number()? > left_over_bytes => Ok(false),
            Some(MemoryFiles::V1 { peak, .. }) => peak.reset().map(|()| true),
            Some(MemoryFiles::V2 { .. }) => Ok(false),
            None => Ok(true),
        }
    }

    /// Counts processes in another group from now on.
    pub(super) fn watch_processes(&mut self, directory: &ControllerDirectory) -> io::Result<()> {
        self.pids = Some(PidsFiles::open(directory)?);
        Ok(())
    }

    /// Reads the CPU time of all current and past processes of the group.
    pub(super) fn cpu(&self) -> io::Result<Option<Duration>> {
        match &self.cpu {
            None => Ok(None),
            Some((CgroupVersion::V1, file)) => {
                file.number().map(|ns| Some(Duration::from_nanos(ns)))
            }
            Some((CgroupVersion::V2, file)) => {
                file.keyed("usage_usec").map(|us| us.map(Duration::from_micros))
            }
        }
    }

    /// Reads the number of processes and threads, including ended ones before they are reaped.
    pub(super) fn processes(&self) -> io::Result<Option<u64>> {
        self.pids.as_ref().map(|pids| pids.current.number()).transpose()
    }

    /// Reads all counters.
    pub(super) fn read(&self) -> io::Result<CgroupCounters> {
        let mut counters = CgroupCounters { cpu: self.cpu()?, ..CgroupCounters::default() };
        if let Some(memory) = &self.memory {
            memory.read_into(&mut counters)?;
        }
        if let Some(PidsFiles { events, peak, .. }) = &self.pids {
            counters.forks_refused = events.keyed("max")?;
            counters.processes_peak = peak.as_ref().map(CounterFile::number).transpose()?;
        }
        Ok(counters)
    }
}

/// Reads how often the kernel refused memory.
///
/// The kernel charges memory and swap together first, and refuses there first if both have the same
/// limit. Kernels without swap accounting have no file for that.
fn refused_charges(directory: &Path) -> io::Result<u64> {
    let alone = CounterFile::open(directory, "memory.failcnt")?.number()?;
    match CounterFile::open_optional(directory, "memory.memsw.failcnt")? {
        Some(with_swap) => Ok(alone.saturating_add(with_swap.number()?)),
        None => Ok(alone),
    }
}
