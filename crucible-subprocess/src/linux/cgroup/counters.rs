//! What the kernel has counted in the groups of one sandbox.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crucible_guest_client::CgroupCounters;

use super::detect::Version;
use super::files::CounterFile;
use super::group::Member;

/// The opened files that the kernel's counts are read from.
#[derive(Debug)]
pub(super) struct CounterFiles {
    cpu: Option<(Version, CounterFile)>,
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
        /// Kernels before 5.19 have none.
        peak: Option<CounterFile>,
    },
}

#[derive(Debug)]
struct PidsFiles {
    current: CounterFile,
    events: CounterFile,
    /// Kernels before 6.10 have none.
    peak: Option<CounterFile>,
}

impl PidsFiles {
    fn open(Member { directory, .. }: &Member) -> io::Result<Self> {
        let current = CounterFile::open(directory, "pids.current")?;
        let events = CounterFile::open(directory, "pids.events")?;
        Ok(Self { current, events, peak: CounterFile::open_if_there(directory, "pids.peak")? })
    }
}

impl CounterFiles {
    pub(super) fn open(
        memory: Option<&Member>,
        pids: Option<&Member>,
        cpu: Option<&Member>,
    ) -> io::Result<Self> {
        let cpu = match cpu {
            None => None,
            Some(Member { version, directory }) => {
                let name = if *version == Version::V1 { "cpuacct.usage" } else { "cpu.stat" };
                Some((*version, CounterFile::open(directory, name)?))
            }
        };
        let memory = match memory {
            None => None,
            Some(Member { version: Version::V1, directory }) => Some(MemoryFiles::V1 {
                directory: directory.clone(),
                control: CounterFile::open(directory, "memory.oom_control")?,
                usage: CounterFile::open(directory, "memory.usage_in_bytes")?,
                peak: CounterFile::open_to_reset(directory, "memory.max_usage_in_bytes")?,
            }),
            Some(Member { version: Version::V2, directory }) => Some(MemoryFiles::V2 {
                events: CounterFile::open(directory, "memory.events")?,
                peak: CounterFile::open_if_there(directory, "memory.peak")?,
            }),
        };
        let pids = match pids {
            None => None,
            Some(member) => Some(PidsFiles::open(member)?),
        };
        Ok(Self { cpu, memory, pids })
    }

    /// Sets the memory's peak back; `false` if more than this is still in use.
    pub(super) fn start_again(&mut self, left_over_bytes: u64) -> io::Result<bool> {
        match &self.memory {
            Some(MemoryFiles::V1 { usage, .. }) if usage.number()? > left_over_bytes => Ok(false),
            Some(MemoryFiles::V1 { peak, .. }) => peak.reset().map(|()| true),
            Some(MemoryFiles::V2 { .. }) => Ok(false),
            None => Ok(true),
        }
    }

    /// Counts processes in another group from now on.
    pub(super) fn watch_processes(&mut self, member: &Member) -> io::Result<()> {
        self.pids = Some(PidsFiles::open(member)?);
        Ok(())
    }

    /// CPU time of everything that runs or has run in the group.
    pub(super) fn cpu(&self) -> io::Result<Option<Duration>> {
        match &self.cpu {
            None => Ok(None),
            Some((Version::V1, file)) => file.number().map(|ns| Some(Duration::from_nanos(ns))),
            Some((Version::V2, file)) => {
                file.keyed("usage_usec").map(|us| us.map(Duration::from_micros))
            }
        }
    }

    /// How many processes and threads there are, those included that have ended and that nobody has waited for.
    pub(super) fn processes(&self) -> io::Result<Option<u64>> {
        self.pids.as_ref().map(|pids| pids.current.number()).transpose()
    }

    pub(super) fn read(&self) -> io::Result<CgroupCounters> {
        let mut counters = CgroupCounters { cpu: self.cpu()?, ..CgroupCounters::default() };
        match &self.memory {
            None => {}
            Some(MemoryFiles::V1 { directory, control, peak, .. }) => {
                counters.oom_kills = control.keyed("oom_kill")?;
                counters.memory_peak_bytes = Some(peak.number()?);
                if counters.oom_kills > Some(0) {
                    counters.memory_limit_hits = Some(refused(directory)?);
                }
            }
            Some(MemoryFiles::V2 { events, peak }) => {
                counters.oom_kills = events.keyed("oom_kill")?;
                // `oom`, not `max`: the latter also counts what reclaim could mend.
                counters.memory_limit_hits = events.keyed("oom")?;
                counters.memory_peak_bytes = peak.as_ref().map(CounterFile::number).transpose()?;
            }
        }
        if let Some(PidsFiles { events, peak, .. }) = &self.pids {
            counters.forks_refused = events.keyed("max")?;
            counters.processes_peak = peak.as_ref().map(CounterFile::number).transpose()?;
        }
        Ok(counters)
    }
}

/// How often memory was refused. Memory and swap together are charged first, and refused first where both have one limit.
/// Kernels without swap accounting have no file for that.
fn refused(directory: &Path) -> io::Result<u64> {
    let alone = CounterFile::open(directory, "memory.failcnt")?.number()?;
    match CounterFile::open_if_there(directory, "memory.memsw.failcnt")? {
        Some(with_swap) => Ok(alone.saturating_add(with_swap.number()?)),
        None => Ok(alone),
    }
}
