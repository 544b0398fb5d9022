//! The groups of one sandbox: one in version 2, one for each controller in version 1.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::detect::{Controller, Place, Version};
use super::files;

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) memory_bytes: u64,
    /// Processes and threads, the guest included.
    pub(crate) processes: u64,
}

/// What the kernel has counted in a group. What a controller that is not there would have counted is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    /// Processes that the kernel killed for lack of memory.
    pub(crate) oom_kills: Option<u64>,
    /// How often the group ran into its own memory limit.
    pub(crate) memory_limit_hits: Option<u64>,
    /// How often a fork was refused because there were as many processes as there may be.
    pub(crate) forks_refused: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    pub(crate) processes_peak: Option<u64>,
    pub(crate) cpu: Option<Duration>,
}

/// The groups of one sandbox.
#[derive(Debug)]
pub(crate) struct Group {
    memory: Option<Member>,
    pids: Option<Member>,
    cpu: Option<Member>,
    /// Every directory once.
    directories: Vec<PathBuf>,
    /// The opened `tasks` files of version 1.
    tasks: Vec<OwnedFd>,
    /// The opened directory of version 2.
    into: Option<OwnedFd>,
}

#[derive(Debug, Clone)]
struct Member {
    version: Version,
    directory: PathBuf,
}

impl Group {
    /// Makes the groups named `name` in the engine's directories.
    pub(super) fn make(places: &[(Controller, Place)], owner: &str, name: &str) -> io::Result<Self> {
        let mut group = Self {
            memory: None,
            pids: None,
            cpu: None,
            directories: Vec::new(),
            tasks: Vec::new(),
            into: None,
        };
        for (controller, place) in places {
            let directory = place.parent.join(owner).join(name);
            let member = Member { version: place.version, directory: directory.clone() };
            match controller {
                Controller::Memory => group.memory = Some(member),
                Controller::Pids => group.pids = Some(member),
                Controller::Cpu => group.cpu = Some(member),
            }
            if group.directories.contains(&directory) {
                continue;
            }
            match fs::create_dir(&directory) {
                Ok(()) => group.directories.push(directory.clone()),
                Err(error) => return Err(group.undo(&directory, &error)),
            }
            if let Err(error) = group.open(place.version, &directory) {
                return Err(group.undo(&directory, &error));
            }
        }
        Ok(group)
    }

    fn open(&mut self, version: Version, directory: &Path) -> io::Result<()> {
        match version {
            // Permission is checked against whoever opens: the guest, who has none, writes to what it is handed.
            Version::V1 => {
                self.tasks.push(OpenOptions::new().write(true).open(directory.join("tasks"))?.into())
            }
            Version::V2 => self.into = Some(fs::File::open(directory)?.into()),
        }
        Ok(())
    }

    /// Removes what was made of a group that cannot be made.
    fn undo(&self, directory: &Path, error: &io::Error) -> io::Error {
        for made in &self.directories {
            if let Err(error) = fs::remove_dir(made) {
                tracing::warn!(cgroup = %made.display(), %error, "a cgroup was left");
            }
        }
        io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
    }

    /// Sets limits. For a group in which nothing runs yet.
    pub(crate) fn limit(&self, limits: GroupLimits) -> io::Result<()> {
        if let Some(Member { version, directory }) = &self.memory {
            let bytes = limits.memory_bytes.to_string();
            match version {
                Version::V1 => {
                    files::write(directory, "memory.limit_in_bytes", &bytes)?;
                    // Memory and swap together: the same, so that there is no swap. After the memory alone, which it
                    // must not be below. Kernels without swap accounting have no such file, and then no swap is charged.
                    if directory.join("memory.memsw.limit_in_bytes").exists() {
                        files::write(directory, "memory.memsw.limit_in_bytes", &bytes)?;
                    }
                }
                Version::V2 => {
                    files::write(directory, "memory.max", &bytes)?;
                    if directory.join("memory.swap.max").exists() {
                        files::write(directory, "memory.swap.max", "0")?;
                    }
                }
            }
        }
        if let Some(Member { directory, .. }) = &self.pids {
            files::write(directory, "pids.max", &limits.processes.to_string())?;
        }
        Ok(())
    }

    /// The opened `tasks` files, for the guest to join by.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(|fd| fd.as_fd())
    }

    /// The opened directory of a version 2 group, for the guest to be born in.
    pub(crate) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(|fd| fd.as_fd())
    }

    /// CPU time of everything that runs or has run in the group.
    pub(crate) fn cpu(&self) -> io::Result<Option<Duration>> {
        match &self.cpu {
            None => Ok(None),
            Some(Member { version: Version::V1, directory }) => {
                files::number(directory, "cpuacct.usage").map(|ns| Some(Duration::from_nanos(ns)))
            }
            Some(Member { version: Version::V2, directory }) => {
                files::keyed(directory, "cpu.stat", "usage_usec").map(|us| us.map(Duration::from_micros))
            }
        }
    }

    /// What the kernel has counted so far.
    pub(crate) fn counters(&self) -> io::Result<Counters> {
        let mut counters = Counters { cpu: self.cpu()?, ..Counters::default() };
        match &self.memory {
            None => {}
            Some(Member { version: Version::V1, directory }) => {
                counters.oom_kills = files::keyed(directory, "memory.oom_control", "oom_kill")?;
                // Memory and swap together are charged first, and refused first where both have one limit.
                let with_swap = files::number(directory, "memory.memsw.failcnt").unwrap_or(0);
                let alone = files::number(directory, "memory.failcnt")?;
                counters.memory_limit_hits = Some(alone.saturating_add(with_swap));
                counters.memory_peak_bytes = Some(files::number(directory, "memory.max_usage_in_bytes")?);
            }
            Some(Member { version: Version::V2, directory }) => {
                counters.oom_kills = files::keyed(directory, "memory.events", "oom_kill")?;
                // `oom`, not `max`: the latter also counts what reclaim could mend.
                counters.memory_limit_hits = files::keyed(directory, "memory.events", "oom")?;
                // Kernels before 5.19 have none.
                counters.memory_peak_bytes = files::number(directory, "memory.peak").ok();
            }
        }
        if let Some(Member { directory, .. }) = &self.pids {
            counters.forks_refused = files::keyed(directory, "pids.events", "max")?;
            // Kernels before 6.10 have none.
            counters.processes_peak = files::number(directory, "pids.peak").ok();
        }
        Ok(counters)
    }

    /// Ends everything in the group at once, where the kernel can (version 2, 5.14).
    pub(crate) fn kill(&self) -> bool {
        self.directories.iter().any(|directory| files::write(directory, "cgroup.kill", "1").is_ok())
    }

    /// Removes the groups; `EBUSY` as long as something runs in one.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        while let Some(directory) = self.directories.last() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.directories.pop();
        }
        Ok(())
    }

    /// Where the groups are, for messages.
    pub(crate) fn describe(&self) -> String {
        self.directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
